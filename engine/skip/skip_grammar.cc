#include "engine/skip/skip_grammar.h"

#include <cmath>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/utf8.h"

namespace skipstone {
namespace {

constexpr char kGrammar[] =
    "none, or terms joined by '+': (attn|mlp|block):item[,item...] with item = last=K, last=P%, "
    "keep-final, LAYER or FIRST-LAST";

// Part of an error: quoted, valid UTF-8, and short, since a status travels in an HTTP/2 header.
std::string Quoted(const std::string& text) {
  constexpr size_t kMaxBytes = 64;
  const std::string shown = ReplaceInvalidUtf8(std::string_view(text).substr(0, kMaxBytes));
  return "'" + shown + (text.size() > kMaxBytes ? "...'" : "'");
}

absl::Status Error(const std::string& term, int num_layers, const std::string& why) {
  return absl::InvalidArgumentError(
      absl::StrFormat("skip term %s: %s (the model has %d layers; grammar: %s)", Quoted(term), why,
                      num_layers, kGrammar));
}

// Digits only: absl::SimpleAtoi alone would take signs and blanks.
std::optional<int> ParseCount(const std::string& text) {
  int value = 0;
  if (text.empty() || text.size() > 6) return std::nullopt;
  if (text.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  if (!absl::SimpleAtoi(text, &value)) return std::nullopt;
  return value;
}

std::optional<double> ParsePercent(const std::string& text) {
  double value = 0;
  if (text.empty() || text.size() > 12) return std::nullopt;
  if (text.find_first_not_of("0123456789.") != std::string::npos) return std::nullopt;
  if (!absl::SimpleAtod(text, &value) || value > 100) return std::nullopt;
  return value;
}

// The layers of one term's items.
class TermParser {
 public:
  TermParser(const std::string& term, int num_layers) : term_(term), num_layers_(num_layers) {}

  absl::StatusOr<LayerBits> Parse(const std::string& items) {
    for (const std::string& item : std::vector<std::string>(absl::StrSplit(items, ','))) {
      SKIPSTONE_RETURN_IF_ERROR(ParseItem(item));
    }
    if (keep_final_ && !last_.has_value()) return Fail("keep-final needs last= beside it");
    if (last_.has_value()) SKIPSTONE_RETURN_IF_ERROR(AddLast());
    return layers_;
  }

 private:
  absl::Status Fail(const std::string& why) const { return Error(term_, num_layers_, why); }

  absl::Status ParseItem(const std::string& item) {
    if (item == "keep-final") {
      if (keep_final_) return Fail("keep-final stands twice");
      keep_final_ = true;
      return absl::OkStatus();
    }
    if (item.rfind("last=", 0) == 0) return ParseLast(item.substr(5));
    return ParseRange(item);
  }

  absl::Status ParseLast(const std::string& value) {
    if (last_.has_value()) return Fail("last= stands twice");
    if (!value.empty() && value.back() == '%') {
      const auto percent = ParsePercent(value.substr(0, value.size() - 1));
      if (!percent)
        return Fail(absl::StrFormat("%s is not a percentage from 0%% to 100%%", Quoted(value)));
      last_ = static_cast<int>(std::floor(num_layers_ * *percent / 100 + 0.5));
    } else {
      last_ = ParseCount(value);
      if (!last_) return Fail(absl::StrFormat("%s is not a number of layers", Quoted(value)));
    }
    return absl::OkStatus();
  }

  absl::Status ParseRange(const std::string& item) {
    const std::vector<std::string> ends = absl::StrSplit(item, '-');
    const auto first = ParseCount(ends.front());
    const auto last = ParseCount(ends.back());
    if (ends.size() > 2 || !first || !last) {
      return Fail(absl::StrFormat("%s is not an item", Quoted(item)));
    }
    if (*first > *last) return Fail(absl::StrFormat("range '%s' is reversed", item));
    if (*last >= num_layers_) {
      return Fail(absl::StrFormat("layer %d is out of range 0-%d", *last, num_layers_ - 1));
    }
    for (int layer = *first; layer <= *last; ++layer) layers_.set(layer);
    return absl::OkStatus();
  }

  absl::Status AddLast() {
    const int end = keep_final_ ? num_layers_ - 1 : num_layers_;
    if (*last_ > end) {
      return Fail(absl::StrFormat("last=%d exceeds the %d layers available", *last_, end));
    }
    for (int layer = end - *last_; layer < end; ++layer) layers_.set(layer);
    return absl::OkStatus();
  }

  const std::string& term_;
  const int num_layers_;
  LayerBits layers_;
  bool keep_final_ = false;
  std::optional<int> last_;
};

}  // namespace

absl::StatusOr<SkipSet> ParseSkipSet(std::string_view text, int num_layers) {
  SkipSet skip(num_layers);
  if (text == "none") return skip;
  for (const std::string& term :
       std::vector<std::string>(absl::StrSplit(absl::string_view(text.data(), text.size()), '+'))) {
    const size_t colon = term.find(':');
    const std::string kind = term.substr(0, colon);
    if (colon == std::string::npos || (kind != "attn" && kind != "mlp" && kind != "block")) {
      return Error(term, num_layers, "it does not start with attn:, mlp: or block:");
    }
    SKIPSTONE_ASSIGN_OR_RETURN(LayerBits layers,
                               TermParser(term, num_layers).Parse(term.substr(colon + 1)));
    for (int layer = 0; layer < num_layers; ++layer) {
      if (!layers[layer]) continue;
      if (kind != "mlp") skip.SkipAttention(layer);
      if (kind != "attn") skip.SkipMlp(layer);
    }
  }
  if (skip.SkipsEverything()) {
    return Error(std::string(text), num_layers, "it skips every sublayer of the model");
  }
  return skip;
}

absl::StatusOr<std::vector<SkipSet>> ParseSkipList(std::string_view text, int num_layers) {
  std::vector<SkipSet> skips;
  for (const std::string& part :
       std::vector<std::string>(absl::StrSplit(absl::string_view(text.data(), text.size()), ';'))) {
    SKIPSTONE_ASSIGN_OR_RETURN(SkipSet skip, ParseSkipSet(part, num_layers));
    skips.push_back(skip);
  }
  return skips;
}

}  // namespace skipstone
