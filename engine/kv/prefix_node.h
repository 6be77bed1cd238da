// What the prefix index is made of: nodes, their memory, and lists of them. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv/page_pool.h"

namespace skipstone {

class PrefixNodeList;

// One block of tokens behind a chain of others, with a page per layer; or a root, which has
// neither. One cache line: a node is cold by the time that it is evicted.
struct alignas(64) PrefixNode {
  PrefixNode* parent = nullptr;  // null: a root
  int32_t* words = nullptr;      // the block's tokens, then a page by layer (-1: none)
  uint64_t hash = 0;
  uint64_t last_used = 0;  // when a cursor was last let go here; counted by the index
  PrefixNode* previous = nullptr;
  PrefixNode* next = nullptr;
  PrefixNodeList* list = nullptr;  // the one list that it is in
  int32_t children = 0;
  int32_t users = 0;  // cursors that stand here
};

// What a node is found by.
struct PrefixNodeKey {
  const PrefixNode* parent;
  std::span<const int32_t> tokens;  // of the node itself
  uint64_t hash;
};

// Of a hash set of nodes that is asked for keys.
struct PrefixNodeHash {
  using is_transparent = void;
  size_t operator()(const PrefixNode* node) const { return node->hash; }
  size_t operator()(const PrefixNodeKey& key) const { return key.hash; }
};
struct PrefixNodeEqual {
  using is_transparent = void;
  bool operator()(const PrefixNode* a, const PrefixNode* b) const { return a == b; }
  bool operator()(const PrefixNode* node, const PrefixNodeKey& key) const {
    return node->hash == key.hash && node->parent == key.parent &&
           std::equal(key.tokens.begin(), key.tokens.end(), node->words);
  }
};

// Doubly linked through the nodes.
class PrefixNodeList {
 public:
  bool empty() const { return front_ == nullptr; }
  PrefixNode* front() const { return front_; }
  // Of a node that is in no list.
  void PushFront(PrefixNode* node);
  void PushBack(PrefixNode* node);
  // Of a node that is in this one.
  void Remove(PrefixNode* node);

 private:
  PrefixNode* front_ = nullptr;
  PrefixNode* back_ = nullptr;
};

// Nodes at stable addresses, from chunks that are kept: at its largest size it allocates no more.
class PrefixNodeSlab {
 public:
  // A node of `words` words, which must be the same every time. Its words are not set.
  PrefixNode* Take(int words);
  void Give(PrefixNode* node);
  // Calls `visit` with every node that is taken and has a parent.
  template <class Visit>
  void ForEach(Visit visit) {
    for (Chunk& chunk : chunks_) {
      for (PrefixNode& node : chunk.nodes) {
        if (node.parent) visit(&node);
      }
    }
  }

 private:
  struct Chunk {
    std::vector<PrefixNode> nodes;
    std::vector<int32_t> words;
  };

  std::vector<Chunk> chunks_;
  PrefixNode* free_ = nullptr;  // linked by `next`
};

}  // namespace skipstone
