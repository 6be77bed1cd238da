#include "engine/kv/prefix_index.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/hash.h"

namespace skipstone {
namespace {

// The sublayers that `skip` skips below the attention of `layer`.
SkipSet SkippedBelow(const SkipSet& skip, int layer) {
  SkipSet below(skip.num_layers());
  for (int l = 0; l < layer; ++l) {
    if (!skip.KeepsAttention(l)) below.SkipAttention(l);
    if (!skip.KeepsMlp(l)) below.SkipMlp(l);
  }
  return below;
}

// Two kept layers with nothing skipped between their attentions share their node.
bool SkipsBetween(const SkipSet& skip, int layer, int later) {
  if (later != layer + 1) return true;
  return !skip.KeepsMlp(layer);
}

}  // namespace

bool PrefixIndex::NodeKey::operator==(const NodeKey& other) const {
  return parent == other.parent && std::ranges::equal(tokens, other.tokens);
}

size_t PrefixIndex::NodeKeyHash::operator()(const NodeKey& key) const {
  uint64_t hash = Mix64(reinterpret_cast<uintptr_t>(key.parent));
  for (const int32_t token : key.tokens) hash = Mix64(hash ^ static_cast<uint32_t>(token));
  return hash;
}

PrefixIndex::Cursor& PrefixIndex::Cursor::operator=(Cursor&& other) noexcept {
  if (this == &other) return *this;
  Reset();
  index_ = std::exchange(other.index_, nullptr);
  groups_ = std::exchange(other.groups_, {});
  blocks_ = std::exchange(other.blocks_, 0);
  return *this;
}

void PrefixIndex::Cursor::Reset() {
  for (const Group& group : groups_) index_->Leave(group.node);
  groups_.clear();
  blocks_ = 0;
  index_ = nullptr;
}

void PrefixIndex::Cursor::ShedTop(int kept_layers) {
  SKIPSTONE_CHECK(kept_layers >= 0);
  while (!groups_.empty() && groups_.back().begin >= kept_layers) {
    index_->Leave(groups_.back().node);
    groups_.pop_back();
  }
  if (!groups_.empty()) groups_.back().end = std::min(groups_.back().end, kept_layers);
}

PrefixIndex::PrefixIndex(PagePool& pool, int page_tokens)
    : pool_(pool), page_tokens_(page_tokens) {}

PrefixIndex::~PrefixIndex() {
  while (Evict()) {
  }
}

PrefixIndex::Cursor PrefixIndex::Adopt(std::span<const int32_t> tokens, int max_blocks,
                                       const SkipSet& skip, const std::string& salt,
                                       SequencePages& pages) {
  SKIPSTONE_CHECK(pages.num_blocks() == 0);
  Cursor cursor = Begin(skip, salt, pages);
  const std::vector<int16_t>& layers = pages.layers();
  std::vector<Node*> next(cursor.groups_.size());
  std::vector<PageId> block(layers.size());
  while (cursor.blocks_ < max_blocks && !layers.empty()) {
    const auto own =
        tokens.subspan(static_cast<size_t>(cursor.blocks_) * page_tokens_, page_tokens_);
    for (size_t g = 0; g < next.size(); ++g) {
      const Cursor::Group& group = cursor.groups_[g];
      next[g] = FindChild(group.node, own);
      if (!next[g]) return cursor;
      for (int i = group.begin; i < group.end; ++i) {
        block[i] = next[g]->pages[layers[i]];
        if (block[i] < 0) return cursor;
      }
    }
    for (size_t g = 0; g < next.size(); ++g) Stand(&cursor.groups_[g].node, next[g]);
    pages.Share(block);
    ++cursor.blocks_;
  }
  return cursor;
}

void PrefixIndex::Insert(Cursor& cursor, std::span<const int32_t> tokens,
                         const SequencePages& pages) {
  SKIPSTONE_CHECK(static_cast<int>(tokens.size()) == page_tokens_);
  SKIPSTONE_CHECK(cursor.blocks_ < pages.num_blocks());
  for (Cursor::Group& group : cursor.groups_) {
    Node* node = Child(group.node, tokens);
    for (int i = group.begin; i < group.end; ++i) {
      PageId& page = node->pages[pages.layers()[i]];
      if (page >= 0) continue;
      page = pages.page(cursor.blocks_, i);
      pool_.Retain(page);
    }
    Stand(&group.node, node);
  }
  ++cursor.blocks_;
}

bool PrefixIndex::Evict() {
  if (evictable_.empty()) return ForgetUnusedPages();
  Node* node = evictable_.begin()->second;
  evictable_.erase(evictable_.begin());
  for (const PageId page : node->pages) {
    if (page >= 0) pool_.Forget(page);
  }
  Node* parent = node->parent;
  nodes_.erase({parent, node->tokens});
  --parent->children;
  SetEvictable(parent, true);
  return true;
}

// A node in use may hold pages that its users do not share: of layers that they skip, or of blocks
// that they had computed themselves. Without this a sequence alone in the pool could be stuck.
bool PrefixIndex::ForgetUnusedPages() {
  if (pool_.cached() == 0) return false;
  for (auto& [key, node] : nodes_) {
    for (PageId& page : node->pages) {
      if (page < 0 || pool_.references(page) > 1) continue;
      pool_.Forget(page);
      page = -1;
    }
  }
  return true;
}

PrefixIndex::Cursor PrefixIndex::Begin(const SkipSet& skip, const std::string& salt,
                                       const SequencePages& pages) {
  Cursor cursor;
  cursor.index_ = this;
  const std::vector<int16_t>& layers = pages.layers();
  for (int i = 0; i < static_cast<int>(layers.size()); ++i) {
    if (i > 0 && !SkipsBetween(skip, layers[i - 1], layers[i])) {
      cursor.groups_.back().end = i + 1;
      continue;
    }
    Cursor::Group group{nullptr, i, i + 1};
    Node* root = Root(salt, SkippedBelow(skip, layers[i]).ToString());
    // Room for the pages of all layers: a full request may enter what a skipping one has not.
    root->pages.resize(skip.num_layers(), -1);
    Stand(&group.node, root);
    cursor.groups_.push_back(group);
  }
  return cursor;
}

PrefixIndex::Node* PrefixIndex::Root(const std::string& salt, const std::string& below) {
  std::unique_ptr<Node>& root = roots_[{salt, below}];
  if (!root) {
    root = std::make_unique<Node>();
    root->root_key = {salt, below};
  }
  return root.get();
}

PrefixIndex::Node* PrefixIndex::FindChild(const Node* parent,
                                          std::span<const int32_t> tokens) const {
  const auto it = nodes_.find({parent, tokens});
  return it == nodes_.end() ? nullptr : it->second.get();
}

PrefixIndex::Node* PrefixIndex::Child(Node* parent, std::span<const int32_t> tokens) {
  if (Node* found = FindChild(parent, tokens)) return found;
  auto node = std::make_unique<Node>();
  node->parent = parent;
  node->tokens.assign(tokens.begin(), tokens.end());
  node->pages.assign(parent->pages.size(), -1);
  Node* raw = node.get();
  nodes_.emplace(NodeKey{parent, raw->tokens}, std::move(node));
  ++parent->children;
  return raw;
}

// Moves a cursor's place to `node`, which it then keeps from eviction.
void PrefixIndex::Stand(Node** place, Node* node) {
  SetEvictable(node, false);
  ++node->users;
  if (*place) Leave(*place);
  *place = node;
}

void PrefixIndex::Leave(Node* node) {
  --node->users;
  // Set while it is not in the ordered set.
  if (node->children == 0 && node->users == 0) node->last_used = ++uses_;
  SetEvictable(node, true);
}

// Roots hold no pages: one that nobody needs is dropped instead.
void PrefixIndex::SetEvictable(Node* node, bool evictable) {
  if (node->children > 0 || node->users > 0) return;
  if (!evictable) {
    evictable_.erase({node->last_used, node});
  } else if (node->parent == nullptr) {
    roots_.erase(node->root_key);
  } else {
    evictable_.insert({node->last_used, node});
  }
}

}  // namespace skipstone
