#include "engine/model/text_stream.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace skipstone {

TextStream::TextStream(const Tokenizer& tokenizer, Options options)
    : tokenizer_(tokenizer), options_(std::move(options)) {
  std::erase_if(options_.stop_strings,
                [](const std::string& stop) { return stop.empty() || !IsValidUtf8(stop); });
}

std::string TextStream::Add(int32_t id) {
  if (matched_stop_.has_value()) return "";
  const std::string bytes = tokenizer_.BytesAtStart(id, &options_.at_start);
  if (bytes.empty()) return "";
  partial_ += bytes;
  const size_t whole = partial_.size() - IncompleteUtf8Tail(partial_);
  held_ += ReplaceInvalidUtf8(std::string_view(partial_).substr(0, whole));
  partial_.erase(0, whole);
  FindStop();
  const size_t certain = matched_stop_.has_value() ? held_.size() : held_.size() - UncertainTail();
  std::string delta = held_.substr(0, certain);
  held_.erase(0, certain);
  return delta;
}

std::string TextStream::Flush() {
  if (matched_stop_.has_value()) return "";
  held_ += ReplaceInvalidUtf8(std::exchange(partial_, ""));
  FindStop();
  return std::exchange(held_, "");
}

void TextStream::FindStop() {
  const std::string* found = nullptr;
  size_t end = std::string::npos;
  for (const std::string& stop : options_.stop_strings) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t stop_end = begin + stop.size();
    if (found != nullptr && std::pair(stop_end, found->size()) >= std::pair(end, stop.size())) {
      continue;
    }
    found = &stop;
    end = stop_end;
  }
  if (found == nullptr) return;
  held_.resize(options_.include_stop ? end : end - found->size());
  matched_stop_ = *found;
}

size_t TextStream::UncertainTail() const {
  size_t tail = 0;
  for (const std::string& stop : options_.stop_strings) {
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > tail; --length) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, length))) {
        tail = length;
      }
    }
  }
  return tail;
}

}  // namespace skipstone
