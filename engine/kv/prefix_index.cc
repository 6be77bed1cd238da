#include "engine/kv/prefix_index.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hash.h"

namespace skipstone {
namespace {

// The layers of `bits` that lie below `layer`.
LayerBits Below(const LayerBits& bits, int layer) {
  const int above = kMaxLayers - layer;
  return bits << above >> above;
}

// Two kept layers with nothing skipped between their attentions share their node.
bool SkipsBetween(const SkipSet& skip, int layer, int later) {
  if (later != layer + 1) return true;
  return !skip.KeepsMlp(layer);
}

}  // namespace

bool PrefixIndex::NodeEqual::operator()(const Node* node, const NodeKey& key) const {
  return node->hash == key.hash && node->parent == key.parent &&
         std::equal(key.tokens.begin(), key.tokens.end(), node->words);
}

PrefixIndex::Cursor& PrefixIndex::Cursor::operator=(Cursor&& other) noexcept {
  if (this == &other) return *this;
  Reset();
  index_ = std::exchange(other.index_, nullptr);
  groups_ = std::move(other.groups_);
  other.groups_.clear();
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
  if (groups_.empty() || groups_.back().end <= kept_layers) return;
  groups_.back().end = kept_layers;
  index_->AddSuspect(groups_.back().node);
}

PrefixIndex::PrefixIndex(PagePool& pool, int page_tokens, uint64_t hash_mask)
    : pool_(pool), page_tokens_(page_tokens), hash_mask_(hash_mask) {}

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
  next_.resize(cursor.groups_.size());
  block_.resize(layers.size());
  while (cursor.blocks_ < max_blocks && !layers.empty()) {
    const auto own =
        tokens.subspan(static_cast<size_t>(cursor.blocks_) * page_tokens_, page_tokens_);
    for (size_t g = 0; g < next_.size(); ++g) {
      const Cursor::Group& group = cursor.groups_[g];
      next_[g] = Find(KeyOf(group.node, own));
      if (!next_[g]) return cursor;
      const std::span<const PageId> known = Pages(next_[g]);
      for (int i = group.begin; i < group.end; ++i) {
        block_[i] = known[layers[i]];
        if (block_[i] < 0) return cursor;
      }
    }
    for (size_t g = 0; g < next_.size(); ++g) Advance(&cursor.groups_[g].node, next_[g]);
    pages.Share(block_);
    ++cursor.blocks_;
  }
  return cursor;
}

bool PrefixIndex::Insert(Cursor& cursor, std::span<const int32_t> tokens, SequencePages& pages) {
  SKIPSTONE_CHECK(static_cast<int>(tokens.size()) == page_tokens_);
  SKIPSTONE_CHECK(cursor.blocks_ < pages.num_blocks());
  bool exchanged = false;
  for (Cursor::Group& group : cursor.groups_) {
    Node* node = FindOrAdd(group.node, tokens);
    const std::span<PageId> known = Pages(node);
    for (int i = group.begin; i < group.end; ++i) {
      PageId& page = known[pages.layers()[i]];
      const PageId own = pages.page(cursor.blocks_, i);
      if (page < 0) {
        page = own;
        pool_.Retain(page);
      } else if (page != own) {
        pages.Exchange(cursor.blocks_, i, page);
        exchanged = true;
      }
    }
    Advance(&group.node, node);
  }
  ++cursor.blocks_;
  return exchanged;
}

bool PrefixIndex::Evict() {
  if (evictable_.empty()) return ForgetUnusedPages();
  Node* node = evictable_.front();
  evictable_.Remove(node);
  const std::span<const PageId> pages = Pages(node);
  // What is evicted is cold: its pages' records are fetched while the node is taken out.
  for (const PageId page : pages) {
    if (page >= 0) pool_.Prefetch(page);
  }
  nodes_.erase(node);
  RemoveChild(node->parent, node->last_used);
  for (const PageId page : pages) {
    if (page >= 0) pool_.Forget(page);
  }
  slab_.Give(node);
  if (const Node* next = evictable_.front()) {
    __builtin_prefetch(next->parent);
    for (const PageId& page : Pages(next)) __builtin_prefetch(&page);
  }
  return true;
}

// The child was last used at `child_used`.
void PrefixIndex::RemoveChild(Node* node, uint64_t child_used) {
  if (--node->children > 0 || node->users > 0) return;
  if (!node->parent) return DropRoot(node);
  if (node->list) suspects_.Remove(node);
  // It was in use as long as its last child, so it is the next to go, unless a cursor that went no
  // further was let go there since.
  if (node->last_used > child_used) {
    evictable_.PushBack(node);
  } else {
    evictable_.PushFront(node);
  }
  AddSuspect(node->parent);
}

// A node in use may hold pages that its users do not share: of layers that they skip, or of blocks
// that they had computed themselves. Without this a sequence alone in the pool could be stuck.
bool PrefixIndex::ForgetUnusedPages() {
  if (pool_.cached() == 0) return false;
  bool forgot = false;
  while (!forgot && !suspects_.empty()) {
    for (Node* node = suspects_.front(); node->parent; node = node->parent) {
      if (node->list) suspects_.Remove(node);
      forgot |= ForgetUnusedPages(node);
    }
  }
  // Pages that were given back after their sequence's cursor had been let go.
  if (forgot) return true;
  ++full_walks_;
  slab_.ForEach([&](Node* node) { forgot |= ForgetUnusedPages(node); });
  return forgot;
}

bool PrefixIndex::ForgetUnusedPages(Node* node) {
  bool forgot = false;
  for (PageId& page : Pages(node)) {
    if (page < 0 || pool_.references(page) > 1) continue;
    pool_.Forget(page);
    page = -1;
    forgot = true;
  }
  return forgot;
}

PrefixIndex::Cursor PrefixIndex::Begin(const SkipSet& skip, const std::string& salt,
                                       const SequencePages& pages) {
  if (num_layers_ == 0) num_layers_ = skip.num_layers();
  SKIPSTONE_CHECK(static_cast<int>(num_layers_) == skip.num_layers());
  Cursor cursor;
  cursor.index_ = this;
  const std::vector<int16_t>& layers = pages.layers();
  for (int i = 0; i < static_cast<int>(layers.size()); ++i) {
    if (i > 0 && !SkipsBetween(skip, layers[i - 1], layers[i])) {
      cursor.groups_.back().end = i + 1;
      continue;
    }
    Node* root = FindRoot({salt, Below(skip.attention(), layers[i]), Below(skip.mlp(), layers[i])});
    ++root->users;
    cursor.groups_.push_back({root, i, i + 1});
  }
  return cursor;
}

PrefixIndex::Node* PrefixIndex::FindRoot(const RootKey& key) {
  const auto it = roots_.find(key);
  if (it != roots_.end()) return it->second.get();
  auto root = std::make_unique<Root>();
  root->salt = std::string(key.salt);
  root->key = {root->salt, key.attention, key.mlp};
  // Where a root lies seeds the hashes behind it: a client that could foresee them could make them
  // collide.
  root->hash = Mix64(reinterpret_cast<uintptr_t>(root.get()));
  const RootKey& owned = root->key;
  return roots_.emplace(owned, std::move(root)).first->second.get();
}

PrefixIndex::NodeKey PrefixIndex::KeyOf(const Node* parent, std::span<const int32_t> tokens) const {
  uint64_t hash = Mix64(parent->hash);
  size_t i = 0;
  for (; i + 1 < tokens.size(); i += 2) {
    const uint64_t high = static_cast<uint32_t>(tokens[i]);
    hash = Mix64(hash ^ (high << 32 | static_cast<uint32_t>(tokens[i + 1])));
  }
  if (i < tokens.size()) hash = Mix64(hash ^ static_cast<uint32_t>(tokens[i]));
  return {parent, tokens, hash & hash_mask_};
}

PrefixIndex::Node* PrefixIndex::Find(const NodeKey& key) const {
  const auto it = nodes_.find(key);
  return it == nodes_.end() ? nullptr : *it;
}

PrefixIndex::Node* PrefixIndex::FindOrAdd(Node* parent, std::span<const int32_t> tokens) {
  const NodeKey key = KeyOf(parent, tokens);
  if (Node* found = Find(key)) return found;
  Node* node = slab_.Take(page_tokens_ + static_cast<int>(num_layers_));
  node->parent = parent;
  node->hash = key.hash;
  std::ranges::copy(tokens, node->words);
  std::ranges::fill(Pages(node), -1);
  nodes_.insert(node);
  ++parent->children;
  return node;
}

// Moves a cursor's place on to `child`, which it then keeps from eviction.
void PrefixIndex::Advance(Node** place, Node* child) {
  ++child->users;
  if (child->list == &evictable_) {
    evictable_.Remove(child);
    AddSuspect(child);  // it may have pages of layers that this sequence skips
  }
  --(*place)->users;
  *place = child;
}

// Takes a cursor away for good. Its sequence's pages up there may have no other owner.
void PrefixIndex::Leave(Node* node) {
  --node->users;
  node->last_used = ++uses_;
  if (node->children > 0 || node->users > 0) return AddSuspect(node);
  if (!node->parent) return DropRoot(node);
  if (node->list) suspects_.Remove(node);
  evictable_.PushBack(node);
  AddSuspect(node->parent);
}

void PrefixIndex::AddSuspect(Node* node) {
  if (node->parent && !node->list) suspects_.PushBack(node);
}

// Roots hold no pages: one that nobody needs is not kept.
void PrefixIndex::DropRoot(Node* node) { roots_.erase(roots_.find(static_cast<Root*>(node)->key)); }

}  // namespace skipstone
