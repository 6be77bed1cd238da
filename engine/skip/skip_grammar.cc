#include "engine/skip/skip_grammar.h"

#include <algorithm>
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
    "keep-final, LAYER or FIRST-LAST, or win:item/W[,item/W...] without keep-final";

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

std::string NoWindow(const std::string& tokens) {
  return absl::StrFormat("%s is not a window, which is a multiple of %d from %d to %d tokens",
                         tokens, kWindowUnit, kMinWindow, kMaxWindow);
}

// Layers [first, end) that one item names; the window of each, 0 but in a win term.
struct Layers {
  int first = 0;
  int end = 0;
  int window = 0;
};

// The items of one term.
class TermParser {
 public:
  TermParser(const std::string& term, bool windows, int num_layers)
      : term_(term), windows_(windows), num_layers_(num_layers) {}

  absl::StatusOr<std::vector<Layers>> Parse(const std::string& items) {
    for (const std::string& item : std::vector<std::string>(absl::StrSplit(items, ','))) {
      SKIPSTONE_RETURN_IF_ERROR(ParseItem(item));
    }
    if (keep_final_ && !last_.has_value()) return Fail("keep-final needs last= beside it");
    if (last_.has_value()) SKIPSTONE_RETURN_IF_ERROR(AddLast());
    return layers_;
  }

  absl::Status Fail(const std::string& why) const { return Error(term_, num_layers_, why); }

 private:
  absl::Status ParseItem(const std::string& item) {
    const size_t slash = item.find('/');
    const std::string layers = item.substr(0, slash);
    if (windows_ && layers == "keep-final") {
      return Fail("keep-final is for what is skipped: a window keeps the attention");
    }
    if (windows_ && slash == std::string::npos) {
      return Fail(absl::StrFormat("%s has no window, such as /64", Quoted(item)));
    }
    if (!windows_ && slash != std::string::npos) {
      return Fail(absl::StrFormat("%s has a window, which only items of win: have", Quoted(item)));
    }
    if (windows_) SKIPSTONE_RETURN_IF_ERROR(ParseWindow(item.substr(slash + 1)));
    if (layers.starts_with("last=")) return ParseLast(layers.substr(5));
    if (layers != "keep-final") return ParseRange(layers);
    if (keep_final_) return Fail("keep-final stands twice");
    keep_final_ = true;
    return absl::OkStatus();
  }

  absl::Status ParseWindow(const std::string& text) {
    const auto tokens = ParseCount(text);
    if (!tokens || !IsWindow(*tokens)) return Fail(NoWindow(Quoted(text)));
    window_ = *tokens;
    return absl::OkStatus();
  }

  absl::Status ParseLast(const std::string& value) {
    if (last_.has_value()) return Fail("last= stands twice");
    last_window_ = window_;
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
    layers_.push_back({*first, *last + 1, window_});
    return absl::OkStatus();
  }

  absl::Status AddLast() {
    const int end = keep_final_ ? num_layers_ - 1 : num_layers_;
    if (*last_ > end) {
      return Fail(absl::StrFormat("last=%d exceeds the %d layers available", *last_, end));
    }
    layers_.push_back({end - *last_, end, last_window_});
    return absl::OkStatus();
  }

  const std::string& term_;
  const bool windows_;
  const int num_layers_;
  std::vector<Layers> layers_;
  bool keep_final_ = false;
  std::optional<int> last_;
  int last_window_ = 0;
  int window_ = 0;  // of the item that is read
};

absl::Status AddTerm(SkipSet& skip, const std::string& term) {
  const size_t colon = term.find(':');
  const std::string kind = term.substr(0, colon);
  TermParser parser(term, kind == "win", skip.num_layers());
  if (colon == std::string::npos ||
      (kind != "attn" && kind != "win" && kind != "mlp" && kind != "block")) {
    return parser.Fail("it does not start with attn:, win:, mlp: or block:");
  }
  SKIPSTONE_ASSIGN_OR_RETURN(const auto items, parser.Parse(term.substr(colon + 1)));
  for (const Layers& item : items) {
    for (int layer = item.first; layer < item.end; ++layer) {
      if (kind == "win") {
        const absl::Status added = AddWindow(skip, layer, item.window);
        if (!added.ok()) return parser.Fail(std::string(added.message()));
      }
      if (kind == "attn" || kind == "block") skip.SkipAttention(layer);
      if (kind == "mlp" || kind == "block") skip.SkipMlp(layer);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AddWindow(SkipSet& skip, int layer, int64_t tokens) {
  const int other = skip.Window(layer);
  if (!IsWindow(tokens)) return absl::InvalidArgumentError(NoWindow(absl::StrFormat("%d", tokens)));
  if (!skip.KeepsAttention(layer)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the attention of layer %d is both windowed and skipped", layer));
  }
  if (other != 0 && other != tokens) {
    return absl::InvalidArgumentError(
        absl::StrFormat("layer %d has windows of %d and of %d tokens", layer, other, tokens));
  }
  skip.WindowAttention(layer, static_cast<int>(tokens));
  return absl::OkStatus();
}

absl::StatusOr<SkipSet> ParseSkipSet(std::string_view text, int num_layers) {
  SkipSet skip(num_layers);
  if (text == "none") return skip;
  std::vector<std::string> terms = absl::StrSplit(absl::string_view(text.data(), text.size()), '+');
  // Windows last, so that a layer that is skipped too is found in any order of terms.
  std::ranges::stable_partition(terms, [](const auto& term) { return !term.starts_with("win:"); });
  for (const std::string& term : terms) SKIPSTONE_RETURN_IF_ERROR(AddTerm(skip, term));
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
