// The prefix cache: pages of token blocks that some sequence computed, for others that begin with
// the same tokens, across skip sets.
//
// K and V of a layer depend on the tokens and on which sublayers below that layer's attention were
// skipped, and on nothing else (SEMANTICS "Prefix cache"). There is one node per block of tokens,
// chain of blocks before it, salt, and set of skipped sublayers below; it holds a page per layer.
// All kept layers of every attn:last=K have the empty set below them, so they share one chain.
//
// Not thread-safe: the step thread owns it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/kv/page_pool.h"
#include "engine/kv/sequence_pages.h"
#include "engine/skip/skip_set.h"

namespace skipstone {

class PrefixIndex {
  struct Node;

 public:
  // Where a sequence stands in the index: a node per group of layers that share a set of skipped
  // sublayers below. While it stands there the nodes up to it are not evicted. Move-only.
  class Cursor {
   public:
    Cursor() = default;
    Cursor(Cursor&& other) noexcept { *this = std::move(other); }
    Cursor& operator=(Cursor&& other) noexcept;
    ~Cursor() { Reset(); }
    // Lets go of the nodes.
    void Reset();
    // Follows SequencePages::ShedTop: only the lowest `kept_layers` kept layers go on. Lets go of
    // the nodes of layers above them.
    void ShedTop(int kept_layers);
    int blocks() const { return blocks_; }

   private:
    friend class PrefixIndex;
    struct Group {
      Node* node;
      int begin;  // kept layers [begin, end) of the sequence's pages
      int end;
    };
    PrefixIndex* index_ = nullptr;
    std::vector<Group> groups_;
    int blocks_ = 0;
  };

  PrefixIndex(PagePool& pool, int page_tokens);
  ~PrefixIndex();
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  // Puts the pages of the longest known prefix of `tokens`, at most `max_blocks` blocks, into the
  // empty `pages`. A block counts if every kept layer's page is there.
  Cursor Adopt(std::span<const int32_t> tokens, int max_blocks, const SkipSet& skip,
               const std::string& salt, SequencePages& pages);

  // Enters the block behind the cursor, whose K and V are written: `tokens` are the block's own.
  // Layers that have a page there already keep it.
  void Insert(Cursor& cursor, std::span<const int32_t> tokens, const SequencePages& pages);

  // Frees the pages of the least recently used node that nobody stands on or behind; failing that,
  // all pages that only the cache owns. False if there are none.
  bool Evict();

  int64_t num_nodes() const { return static_cast<int64_t>(nodes_.size()); }

 private:
  struct Node {
    Node* parent = nullptr;  // null: a root
    std::vector<int32_t> tokens;
    std::vector<PageId> pages;  // by layer; -1: none
    int children = 0;
    int users = 0;  // cursors
    uint64_t last_used = 0;
    std::pair<std::string, std::string> root_key;  // roots: salt, skipped sublayers below
  };
  struct NodeKey {
    const Node* parent;
    std::span<const int32_t> tokens;  // of the node itself
    bool operator==(const NodeKey& other) const;
  };
  struct NodeKeyHash {
    size_t operator()(const NodeKey& key) const;
  };

  Cursor Begin(const SkipSet& skip, const std::string& salt, const SequencePages& pages);
  Node* Root(const std::string& salt, const std::string& below);
  Node* Child(Node* parent, std::span<const int32_t> tokens);
  Node* FindChild(const Node* parent, std::span<const int32_t> tokens) const;
  void Stand(Node** place, Node* node);
  void Leave(Node* node);
  void SetEvictable(Node* node, bool evictable);
  bool ForgetUnusedPages();

  PagePool& pool_;
  const int page_tokens_;
  uint64_t uses_ = 0;
  std::unordered_map<NodeKey, std::unique_ptr<Node>, NodeKeyHash> nodes_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Node>> roots_;
  std::set<std::pair<uint64_t, Node*>> evictable_;
};

}  // namespace skipstone
