// The skip grammar. The first byte is the number of layers, the rest the text.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/utf8.h"
#include "engine/skip/skip_grammar.h"
#include "tests/fuzz/fuzz_target.h"

namespace skipstone {
namespace {

void CheckCanonical(const SkipSet& skip) {
  SKIPSTONE_CHECK(!skip.SkipsEverything());
  const auto again = ParseSkipSet(skip.ToString(), skip.num_layers());
  SKIPSTONE_CHECK(again.ok());
  SKIPSTONE_CHECK(*again == skip);
  SKIPSTONE_CHECK(again->ToString() == skip.ToString());
  SKIPSTONE_CHECK(again->id() == skip.id());
}

// What terms mean together does not depend on their order.
void CheckOrder(std::string_view text, const absl::StatusOr<SkipSet>& skip, int num_layers) {
  std::vector<std::string> terms = absl::StrSplit(absl::string_view(text.data(), text.size()), '+');
  std::ranges::reverse(terms);
  const auto reversed = ParseSkipSet(absl::StrJoin(terms, "+"), num_layers);
  SKIPSTONE_CHECK(reversed.ok() == skip.ok());
  SKIPSTONE_CHECK(!skip.ok() || *reversed == *skip);
}

void CheckError(const absl::Status& status) {
  SKIPSTONE_CHECK(absl::IsInvalidArgument(status));
  const std::string message(status.message());
  SKIPSTONE_CHECK(IsValidUtf8(message));
  SKIPSTONE_CHECK(message.size() < 1000);
}

}  // namespace

FuzzSeeds Seeds() {
  const std::string layers(1, 32);
  return {{layers + "none", layers + "attn:last=33%", layers + "attn:last=8,keep-final",
           layers + "attn:20-31+mlp:30", layers + "block:last=2", layers + "block:0-30,31",
           layers + "win:last=50%/64", layers + "attn:28-31+win:20-27/128,16-19/16+mlp:30",
           layers + "win:0-3/64,last=2/262144+win:3/64", layers + "win:5/64+attn:5",
           layers + "none;attn:1;mlp:last=50%;win:last=8/64", std::string("\x01attn:0"),
           std::string("\x7fmlp:0-126"), layers},
          {"none",      "attn:",    "win:", "mlp:", "block:", "last=",   "keep-final",
           "+",         ",",        "-",    "%",    ";",      ":",       "0-31",
           "last=100%", "last=.5%", "/",    "/64",  "/16",    "/262144", "/262152"}};
}

}  // namespace skipstone

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace skipstone;
  if (size == 0) return 0;
  const int num_layers = 1 + data[0] % kMaxLayers;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto skip = ParseSkipSet(text, num_layers);
  skip.ok() ? CheckCanonical(*skip) : CheckError(skip.status());
  CheckOrder(text, skip, num_layers);
  const auto list = ParseSkipList(text, num_layers);
  if (!list.ok()) {
    CheckError(list.status());
    return 0;
  }
  SKIPSTONE_CHECK(!list->empty());
  for (const SkipSet& item : *list) CheckCanonical(item);
  return 0;
}
