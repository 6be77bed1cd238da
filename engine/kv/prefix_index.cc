#include "engine/kv/prefix_index.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hash.h"

namespace skipstone {
namespace {

// Two kept layers share their node if all of the model lies between them: the first one's whole
// attention, and its MLP.
bool LeavesOutBetween(const SkipSet& skip, int layer, int later) {
  return later != layer + 1 || skip.Window(layer) != 0 || !skip.KeepsMlp(layer);
}

}  // namespace

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

void PrefixIndex::Cursor::PagesReleased() {
  for (const Group& group : groups_) index_->AddSuspect(group.node);
}

PrefixIndex::PrefixIndex(PagePool& pool, int page_tokens, uint64_t hash_mask)
    : pool_(pool), page_tokens_(page_tokens), hash_mask_(hash_mask) {}

PrefixIndex::~PrefixIndex() {
  while (Evict()) {
  }
}

PrefixIndex::Cursor PrefixIndex::Adopt(const Query& query, SequencePages& pages) {
  SKIPSTONE_CHECK(pages.num_blocks() == 0);
  Cursor cursor = Begin(query.skip, query.salt, pages);
  const size_t layers = pages.layers().size();
  const size_t groups = cursor.groups_.size();
  if (layers == 0) return cursor;
  const int blocks = BlocksThatServe(query, pages, Walk(query, cursor, pages));
  for (int block = 0; block < blocks; ++block) {
    const auto own = BlockOf(query.tokens, block);
    for (size_t g = 0; g < groups; ++g) {
      Node* known = path_[block * groups + g];
      Node** place = &cursor.groups_[g].node;
      Advance(place, known ? known : FindOrAdd(*place, own));
    }
    pages.Share(std::span(found_).subspan(block * layers, layers));
  }
  cursor.blocks_ = blocks;
  return cursor;
}

// How many blocks are known that have a page in every full layer; what was found is in path_ (null:
// of windowed layers nothing is known) and found_.
int PrefixIndex::Walk(const Query& query, const Cursor& cursor, const SequencePages& pages) {
  const std::vector<int16_t>& layers = pages.layers();
  const size_t groups = cursor.groups_.size();
  path_.clear();
  found_.clear();
  for (int block = 0; block < query.max_blocks; ++block) {
    const auto own = BlockOf(query.tokens, block);
    for (size_t g = 0; g < groups; ++g) {
      const Cursor::Group& group = cursor.groups_[g];
      const Node* parent = block == 0 ? group.node : path_[(block - 1) * groups + g];
      const Node* node = path_.emplace_back(parent ? Find(KeyOf(parent, own)) : nullptr);
      for (int i = group.begin; i < group.end; ++i) {
        found_.push_back(node ? Pages(node)[layers[i]] : kNoPage);
        if (found_.back() < 0 && query.skip.Window(layers[i]) == 0) return block;
      }
    }
  }
  return query.max_blocks;
}

// Of so many blocks the most behind which a sequence can go on: of windowed layers it needs the
// sink's pages and those that its next rows read.
int PrefixIndex::BlocksThatServe(const Query& query, const SequencePages& pages, int blocks) {
  if (query.skip.WindowedAttention() == 0) return blocks;
  const int layers = static_cast<int>(pages.layers().size());
  // present_[block][layer]: pages in a row up to and with this one's.
  present_.assign(static_cast<size_t>(blocks) * layers, 0);
  for (int at = 0; at < blocks * layers; ++at) {
    const int before = at < layers ? 0 : present_[at - layers];
    present_[at] = found_[at] < 0 ? 0 : before + 1;
  }
  const auto serves = [&](int count, int i) {
    if (query.skip.Window(pages.layers()[i]) == 0) return true;
    const int sink = std::min(count, pages.SinkBlocks());
    const int first = pages.FirstBlock(i, count * page_tokens_, query.first_logits);
    return present_[(sink - 1) * layers + i] >= sink &&
           present_[(count - 1) * layers + i] >= std::max(0, count - first);
  };
  for (int count = blocks; count > 0; --count) {
    bool all = true;
    for (int i = 0; i < layers && all; ++i) all = serves(count, i);
    if (all) return count;
  }
  return 0;
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
      if (own == kNoPage) continue;
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
    if (i > 0 && !LeavesOutBetween(skip, layers[i - 1], layers[i])) {
      cursor.groups_.back().end = i + 1;
      continue;
    }
    Node* root = FindRoot({salt, skip.Below(layers[i])});
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
  root->key = {root->salt, key.below};
  // Where a root lies seeds the hashes behind it: a client that could foresee them could make them
  // collide.
  root->hash = Mix64(reinterpret_cast<uintptr_t>(root.get()));
  const RootKey& owned = root->key;
  return roots_.emplace(owned, std::move(root)).first->second.get();
}

PrefixNodeKey PrefixIndex::KeyOf(const Node* parent, std::span<const int32_t> tokens) const {
  uint64_t hash = Mix64(parent->hash);
  size_t i = 0;
  for (; i + 1 < tokens.size(); i += 2) {
    const uint64_t high = static_cast<uint32_t>(tokens[i]);
    hash = Mix64(hash ^ (high << 32 | static_cast<uint32_t>(tokens[i + 1])));
  }
  if (i < tokens.size()) hash = Mix64(hash ^ static_cast<uint32_t>(tokens[i]));
  return {parent, tokens, hash & hash_mask_};
}

PrefixIndex::Node* PrefixIndex::Find(const PrefixNodeKey& key) const {
  const auto it = nodes_.find(key);
  return it == nodes_.end() ? nullptr : *it;
}

PrefixIndex::Node* PrefixIndex::FindOrAdd(Node* parent, std::span<const int32_t> tokens) {
  const PrefixNodeKey key = KeyOf(parent, tokens);
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
