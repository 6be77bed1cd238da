#include "engine/kv/prefix_node.h"

namespace skipstone {
namespace {

constexpr int kChunkNodes = 256;  // 64 KiB of Llama-2-7B with pages of 16 tokens

}  // namespace

void PrefixNodeList::PushFront(PrefixNode* node) {
  node->list = this;
  node->previous = nullptr;
  node->next = front_;
  (front_ ? front_->previous : back_) = node;
  front_ = node;
}

void PrefixNodeList::PushBack(PrefixNode* node) {
  node->list = this;
  node->previous = back_;
  node->next = nullptr;
  (back_ ? back_->next : front_) = node;
  back_ = node;
}

void PrefixNodeList::Remove(PrefixNode* node) {
  (node->previous ? node->previous->next : front_) = node->next;
  (node->next ? node->next->previous : back_) = node->previous;
  node->list = nullptr;
}

PrefixNode* PrefixNodeSlab::Take(int words) {
  if (!free_) {
    Chunk& chunk = chunks_.emplace_back();
    chunk.nodes.resize(kChunkNodes);
    chunk.words.resize(static_cast<size_t>(kChunkNodes) * words);
    for (int i = kChunkNodes - 1; i >= 0; --i) {
      chunk.nodes[i].words = chunk.words.data() + static_cast<size_t>(i) * words;
      Give(&chunk.nodes[i]);
    }
  }
  PrefixNode* node = free_;
  free_ = node->next;
  *node = PrefixNode{.words = node->words};
  return node;
}

void PrefixNodeSlab::Give(PrefixNode* node) {
  node->parent = nullptr;
  node->next = free_;
  free_ = node;
}

}  // namespace skipstone
