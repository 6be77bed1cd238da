// The pages of all sequences: pool and prefix cache, and what a sequence takes from them and
// leaves in them. Integers only. Not thread-safe: the step thread owns it.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/kv/page_pool.h"
#include "engine/kv/prefix_index.h"
#include "engine/schedule/scheduler_options.h"
#include "engine/schedule/sequence.h"

namespace skipstone {

class KvManager {
 public:
  explicit KvManager(const SchedulerOptions& options)
      : pool_(options.num_pages),
        index_(pool_, options.page_tokens),
        page_tokens_(options.page_tokens),
        prefix_cache_(options.prefix_cache),
        liveness_(options.liveness) {}

  // Evicts from the prefix cache until so many pages are free. False, and nothing evicted, if that
  // would not suffice.
  bool MakeRoom(int64_t pages);

  // Takes what the prefix cache has of a sequence without pages; its rows are planned from there
  // on.
  void Adopt(Sequence& sequence);
  // Of `rows` prompt rows that are next: those that `most_pages` pages suffice for, or else those
  // of one block. A prompt takes the room there is before it takes others'.
  int RowsThatFit(const Sequence& sequence, int rows, int64_t most_pages) const;
  // Makes room for `tokens` positions, whose pages are free, and tells the backend.
  void Grow(Sequence& sequence, int tokens, std::vector<PageUpdate>* updates);
  // Tells the backend the pages of blocks [begin, end).
  static void SendPages(const Sequence& sequence, int begin, int end,
                        std::vector<PageUpdate>* updates);
  // Blocks that lie wholly below position `written` become known to the prefix cache. Where it has
  // their pages already, the sequence takes those for its own.
  void EnterBlocks(Sequence& sequence, int written);
  // Tells the backend of pages taken so since the last call.
  void SendExchanged(std::vector<PageUpdate>* updates);
  // Gives back the pages that no row still to be planned reads, but none that is yet to be entered
  // in the prefix cache. Steps under way may read them: only later plans can be given them.
  void Slide(Sequence& sequence);
  // The prefix cache holds all of its prompt that later outputs of the request could share, or
  // there is nothing to share.
  bool PromptEntered(const Sequence& sequence) const;
  // Takes pages and place in the cache away: all rows have to run again.
  void Release(Sequence& sequence);

  // Pages that must be free for a start: those of the known tokens and of one more block, if need
  // be a block of rows at a time.
  int64_t AdmissionPages(const Sequence& sequence) const;

  // Free, or owned by the prefix cache alone: what MakeRoom can free.
  int64_t unowned_pages() const { return pool_.free() + pool_.cached(); }
  PagePool& pool() { return pool_; }
  const PagePool& pool() const { return pool_; }

 private:
  // Rows before it matter only for the K and V that they leave. Without liveness all rows run.
  int FirstLogitsRow(const Sequence& sequence) const {
    return liveness_ ? sequence.FirstLogitsRow() : 0;
  }

  PagePool pool_;
  PrefixIndex index_;
  const int page_tokens_;
  const bool prefix_cache_;
  const bool liveness_;
  std::vector<PageUpdate> exchanged_;  // of running sequences
  std::vector<int32_t> tokens_;        // scratch
};

}  // namespace skipstone
