// The prefix cache: pages of token blocks that some sequence computed, for others that begin with
// the same tokens, across skip sets.
//
// K and V of a layer depend on the tokens and on which sublayers below that layer's attention were
// skipped or windowed, and how, and on nothing else (SEMANTICS "Prefix cache"). There is one node per block
// of tokens, chain of blocks before it, salt, and skip set below; it holds a page per layer, or
// none where a windowed layer's rows were not run. All kept layers of every attn:last=K have the
// empty set below them, so they share one chain.
//
// Not thread-safe: the step thread owns it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "engine/kv/page_pool.h"
#include "engine/kv/prefix_node.h"
#include "engine/kv/sequence_pages.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

class PrefixIndex {
  using Node = PrefixNode;

 public:
  // Where a sequence stands: a node per group of layers that share a set of skipped sublayers
  // below. While it stands there the nodes up to it are not evicted. Move-only.
  class Cursor {
   public:
    Cursor() = default;
    Cursor(Cursor&& other) noexcept { *this = std::move(other); }
    Cursor& operator=(Cursor&& other) noexcept;
    ~Cursor() { Reset(); }
    // Lets go of the nodes.
    void Reset();
    // Follows SequencePages::ShedTo: lets go of all but the lowest `kept_layers` kept layers.
    void ShedTop(int kept_layers);
    // Follows SequencePages::Slide that gave pages back: the cache alone may own them.
    void PagesReleased();
    int blocks() const { return blocks_; }

   private:
    friend class PrefixIndex;
    struct Group {
      Node* node;
      int begin;  // kept layers [begin, end) of the sequence's pages
      int end;
    };
    PrefixIndex* index_ = nullptr;
    absl::InlinedVector<Group, 1> groups_;  // one for every attn:last=K
    int blocks_ = 0;
  };

  // `hash_mask`: the bits of hashes that are used; tests take few, so that hashes collide.
  PrefixIndex(PagePool& pool, int page_tokens, uint64_t hash_mask = ~uint64_t{0});
  ~PrefixIndex();
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  // What a sequence asks for. All skips are of one model.
  struct Query {
    std::span<const int32_t> tokens;
    int max_blocks = 0;  // that it may take: `tokens` has so many at least
    const SkipSet& skip;
    const std::string& salt;
    int first_logits = 0;  // its first row that needs logits
  };
  // Puts the pages of the longest known prefix into the empty `pages`: as many blocks as have every
  // full layer's page, and of windowed layers the pages that the rows behind them will read.
  Cursor Adopt(const Query& query, SequencePages& pages);

  // Enters the block behind the cursor, whose K and V are written: `tokens` are the block's own.
  // Layers that have a page there already keep it, and `pages` takes it in exchange for its own,
  // which holds the same. Returns whether it did.
  bool Insert(Cursor& cursor, std::span<const int32_t> tokens, SequencePages& pages);

  // Drops the least recently used node that nobody stands on or behind; failing that, pages of a
  // chain in use that only the cache owns. False if there are none. O(pages of node or chain).
  bool Evict();

  int64_t num_nodes() const { return static_cast<int64_t>(nodes_.size()); }
  // How often Evict looked at every node: only for pages held after their cursor was let go.
  int64_t full_walks() const { return full_walks_; }

 private:
  // What the pages of a chain depend on beside its tokens.
  struct RootKey {
    std::string_view salt;
    SkipSet below;
    bool operator==(const RootKey&) const = default;
    template <class H>
    friend H AbslHashValue(H state, const RootKey& key) {
      return H::combine(std::move(state), key.salt, key.below);
    }
  };
  struct Root : Node {
    RootKey key;
    std::string salt;
  };

  Cursor Begin(const SkipSet& skip, const std::string& salt, const SequencePages& pages);
  int Walk(const Query& query, const Cursor& cursor, const SequencePages& pages);
  int BlocksThatServe(const Query& query, const SequencePages& pages, int blocks);
  Node* FindRoot(const RootKey& key);
  PrefixNodeKey KeyOf(const Node* parent, std::span<const int32_t> tokens) const;
  Node* Find(const PrefixNodeKey& key) const;
  Node* FindOrAdd(Node* parent, std::span<const int32_t> tokens);
  std::span<const int32_t> BlockOf(std::span<const int32_t> tokens, int block) const {
    return tokens.subspan(static_cast<size_t>(block) * page_tokens_, page_tokens_);
  }
  std::span<PageId> Pages(const Node* node) const {
    return {node->words + page_tokens_, num_layers_};
  }
  void Advance(Node** place, Node* child);
  void Leave(Node* node);
  void RemoveChild(Node* node, uint64_t child_used);
  void AddSuspect(Node* node);
  void DropRoot(Node* node);
  bool ForgetUnusedPages();
  bool ForgetUnusedPages(Node* node);

  PagePool& pool_;
  const int page_tokens_;
  const uint64_t hash_mask_;
  size_t num_layers_ = 0;  // of the first skip set
  uint64_t uses_ = 0;
  int64_t full_walks_ = 0;
  PrefixNodeSlab slab_;
  absl::flat_hash_set<Node*, PrefixNodeHash, PrefixNodeEqual> nodes_;
  absl::flat_hash_map<RootKey, std::unique_ptr<Root>> roots_;
  PrefixNodeList evictable_;   // leaves that nobody stands on, the least recently used first
  PrefixNodeList suspects_;    // others: from them upwards the cache alone may own pages
  std::vector<Node*> path_;    // scratch: [block][group], as far as a walk came
  std::vector<PageId> found_;  // scratch: [block][kept layer]
  std::vector<int> present_;   // scratch: blocks in a row that have a page
};

}  // namespace skipstone
