#include "engine/cpu/page_store.h"

#include "absl/strings/str_format.h"
#include "base/check.h"

namespace skipstone {

absl::Status PageStore::Allocate(const ModelShape& shape, const StepLimits& limits) {
  num_layers_ = shape.num_layers;
  kv_heads_ = shape.kv_heads;
  head_dim_ = shape.head_dim;
  page_tokens_ = limits.page_tokens;
  blocks_ = (shape.max_context + page_tokens_ - 1) / page_tokens_;
  max_slots_ = limits.max_slots;
  num_pages_ = limits.num_pages;
  head_floats_ = static_cast<int64_t>(page_tokens_) * head_dim_;
  page_floats_ = 2 * kv_heads_ * head_floats_;
  const int64_t page_bytes = PageBytes(shape, page_tokens_);
  pages_ = Buffer::Map(num_pages_ * page_bytes);
  table_ = Buffer::Map(TableIndex(max_slots_, 0, 0) * static_cast<int64_t>(sizeof(int32_t)));
  if ((num_pages_ > 0 && pages_.as<float>() == nullptr) || table_.as<int32_t>() == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("no address space for %d K/V pages of %d bytes", num_pages_, page_bytes));
  }
  return absl::OkStatus();
}

void PageStore::Update(std::span<const PageUpdate> updates) {
  for (const PageUpdate& u : updates) {
    SKIPSTONE_CHECK(u.slot >= 0 && u.slot < max_slots_ && u.layer >= 0 && u.layer < num_layers_);
    SKIPSTONE_CHECK(u.block >= 0 && u.block < blocks_ && u.page >= 0 && u.page < num_pages_);
    table_.as<int32_t>()[TableIndex(u.slot, u.layer, u.block)] = u.page;
  }
}

}  // namespace skipstone
