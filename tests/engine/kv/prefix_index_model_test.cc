// The prefix index under random traffic against a model that keys every page by all that K and V
// depend on, written out: salt, skipped sublayers below and their maps, and the whole prefix.
#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/kv/prefix_index.h"
#include "gtest/gtest.h"
#include "tests/support/mapped_set.h"

namespace skipstone {
namespace {

constexpr int kLayers = 4;
constexpr int kPageTokens = 2;
constexpr int kMaxBlocks = 6;
constexpr int kPool = 96;
constexpr int kMostHolders = 8;

// What K and V of `layer` depend on beside tokens and salt.
std::string Below(const SkipSet& skip, int layer) {
  SkipSet below(skip.num_layers());
  for (int l = 0; l < layer; ++l) {
    if (!skip.KeepsAttention(l)) below.SkipAttention(l);
    if (!skip.KeepsMlp(l)) below.SkipMlp(l);
  }
  std::string text = below.ToString();
  for (int l = 0; l < layer; ++l) {
    if (const uint64_t map = skip.AttentionMap(l)) text += " a" + std::to_string(map);
    if (const uint64_t map = skip.MlpMap(l)) text += " m" + std::to_string(map);
  }
  return text;
}

class Model {
 public:
  struct Entry {
    std::map<int, PageId> pages;  // by layer
    int children = 0;
    int users = 0;
    int64_t last_used = 0;
  };

  static std::string Key(const std::string& root, std::span<const int32_t> tokens, int blocks) {
    std::string key = root;
    for (const int32_t token : tokens.first(blocks * kPageTokens)) {
      key += "," + std::to_string(token);
    }
    return key;
  }
  // Of the block before; the root's own for the first.
  static std::string Parent(std::string key) {
    for (int i = 0; i < kPageTokens; ++i) key.resize(key.rfind(','));
    return key;
  }
  static bool IsRoot(const std::string& key) { return key.find(',') == std::string::npos; }

  Entry* Find(const std::string& key) {
    const auto it = entries.find(key);
    return it == entries.end() ? nullptr : &it->second;
  }
  Entry& FindOrAdd(const std::string& key) {
    if (!entries.contains(key) && !IsRoot(Parent(key))) ++entries.at(Parent(key)).children;
    return entries[key];
  }
  void Stand(const std::string& key) {
    if (IsRoot(key)) return;
    ++entries.at(key).users;
    std::erase(evictable, key);
  }
  void Move(const std::string& from, const std::string& to) {
    Stand(to);
    if (!IsRoot(from)) --entries.at(from).users;
  }
  void Leave(const std::string& key) {
    if (IsRoot(key)) return;
    Entry& entry = entries.at(key);
    entry.last_used = ++uses;
    if (--entry.users == 0 && entry.children == 0) evictable.push_back(key);
  }
  void Evict() {
    const std::string key = evictable.front();
    evictable.erase(evictable.begin());
    const int64_t last_used = entries.at(key).last_used;
    entries.erase(key);
    const std::string parent = Parent(key);
    if (IsRoot(parent)) return;
    Entry& entry = entries.at(parent);
    if (--entry.children > 0 || entry.users > 0) return;
    const bool used_since = entry.last_used > last_used;
    evictable.insert(used_since ? evictable.end() : evictable.begin(), parent);
  }

  std::map<std::string, Entry> entries;
  std::vector<std::string> evictable;  // the next to go first
  int64_t uses = 0;
};

struct Holder {
  Holder(PagePool& pool, const SkipSet& skip) : skip(skip), pages(pool, skip, kPageTokens) {}
  // The groups of kept layers: what they begin their keys with.
  std::vector<std::string> Roots() const {
    std::vector<std::string> roots;
    for (const int16_t layer : pages.layers()) {
      const std::string root = RootOf(layer);
      if (roots.empty() || roots.back() != root) roots.push_back(root);
    }
    return roots;
  }
  std::string RootOf(int layer) const { return salt + "/" + Below(skip, layer); }

  SkipSet skip;
  std::string salt;
  std::vector<int32_t> tokens;
  SequencePages pages;
  PrefixIndex::Cursor cursor;
};

class PrefixIndexModelTest : public testing::TestWithParam<uint64_t> {
 protected:
  int Draw(int below) { return static_cast<int>(random_() % below); }

  void Start() {
    static const char* const kSkips[] = {
        "none",     "attn:last=1",   "attn:last=2", "attn:last=3",   "attn:1",
        "mlp:0",    "mlp:3",         "attn:0-3",    "attn:1+mlp:2",  "attn:1@1",
        "attn:1@2", "attn:last=2@1", "mlp:0@1",     "attn:1+mlp:2@1"};
    static const char* const kSalts[] = {"", "a tenant whose name is long"};
    auto holder =
        std::make_unique<Holder>(pool_, MappedSet(kSkips[Draw(std::size(kSkips))], kLayers));
    holder->salt = kSalts[Draw(4) == 0];
    for (int i = 0; i < kMaxBlocks * kPageTokens; ++i) holder->tokens.push_back(Draw(5) / 4);
    const int most = Draw(kMaxBlocks + 1);
    holder->cursor = index_.Adopt(
        {.tokens = holder->tokens, .max_blocks = most, .skip = holder->skip, .salt = holder->salt},
        holder->pages);
    CheckAdopted(*holder, most);
    for (const std::string& root : holder->Roots()) {
      model_.Stand(Model::Key(root, holder->tokens, holder->cursor.blocks()));
    }
    holders_.push_back(std::move(holder));
  }

  // The longest prefix for which every kept layer's page exists, with those pages.
  void CheckAdopted(const Holder& holder, int most) {
    int blocks = 0;
    while (blocks < most && Known(holder, blocks)) ++blocks;
    if (holder.pages.layers().empty()) blocks = 0;
    ASSERT_EQ(holder.cursor.blocks(), blocks);
    ASSERT_EQ(holder.pages.num_blocks(), blocks);
    for (int block = 0; block < blocks; ++block) {
      for (size_t i = 0; i < holder.pages.layers().size(); ++i) {
        const int layer = holder.pages.layers()[i];
        const auto key = Model::Key(holder.RootOf(layer), holder.tokens, block + 1);
        ASSERT_EQ(holder.pages.page(block, i), model_.Find(key)->pages.at(layer));
      }
    }
  }

  bool Known(const Holder& holder, int block) {
    return std::ranges::all_of(holder.pages.layers(), [&](int layer) {
      const auto key = Model::Key(holder.RootOf(layer), holder.tokens, block + 1);
      const Model::Entry* entry = model_.Find(key);
      return entry && entry->pages.contains(layer);
    });
  }

  // Grows by up to two blocks, at the cost of the cache, and enters some of what it has.
  void Extend(Holder& holder) {
    const int blocks = std::min(kMaxBlocks, holder.pages.num_blocks() + Draw(3));
    const int64_t tokens = int64_t{blocks} * kPageTokens;
    while (holder.pages.MissingPages(tokens) > pool_.free()) {
      if (!Evict()) return;
    }
    ASSERT_TRUE(holder.pages.Grow(tokens));
    while (holder.cursor.blocks() < holder.pages.num_blocks() && Draw(4) > 0) Insert(holder);
  }

  void Insert(Holder& holder) {
    const int block = holder.cursor.blocks();
    const auto own = std::span(holder.tokens).subspan(block * kPageTokens, kPageTokens);
    for (const std::string& root : holder.Roots()) {
      Model::Entry& entry = model_.FindOrAdd(Model::Key(root, holder.tokens, block + 1));
      for (size_t i = 0; i < holder.pages.layers().size(); ++i) {
        const int layer = holder.pages.layers()[i];
        if (holder.RootOf(layer) == root) entry.pages.insert({layer, holder.pages.page(block, i)});
      }
      model_.Move(Model::Key(root, holder.tokens, block),
                  Model::Key(root, holder.tokens, block + 1));
    }
    index_.Insert(holder.cursor, own, holder.pages);
    ASSERT_EQ(holder.cursor.blocks(), block + 1);
  }

  void Leave(int number) {
    Holder& holder = *holders_[number];
    for (const std::string& root : holder.Roots()) {
      model_.Leave(Model::Key(root, holder.tokens, holder.cursor.blocks()));
    }
    const int order = Draw(3);
    if (order == 0) holder.pages.Release();
    if (order == 1) holder.cursor.Reset();
    holders_.erase(holders_.begin() + number);
  }

  void Shed(Holder& holder) {
    const std::vector<std::string> before = holder.Roots();
    const int layers = Draw(static_cast<int>(holder.pages.layers().size()) + 1);
    for (int i = 0; i < layers; ++i) holder.skip.SkipAttention(holder.skip.LastKeptAttention());
    holder.pages.ShedTo(holder.skip);
    holder.cursor.ShedTop(static_cast<int>(holder.pages.layers().size()));
    for (size_t i = before.size(); i > holder.Roots().size(); --i) {
      model_.Leave(Model::Key(before[i - 1], holder.tokens, holder.cursor.blocks()));
    }
  }

  bool Evict() {
    if (!model_.evictable.empty()) {
      model_.Evict();
      EXPECT_TRUE(index_.Evict());
      return true;
    }
    const int64_t cached = pool_.cached();
    const bool evicted = index_.Evict();
    EXPECT_EQ(evicted, cached > 0);
    if (!evicted) return false;
    // The index chose which of the pages that only it owned to free.
    EXPECT_LT(pool_.cached(), cached);
    for (auto& [key, entry] : model_.entries) {
      std::erase_if(entry.pages,
                    [&](const auto& page) { return pool_.references(page.second) == 0; });
    }
    return true;
  }

  // Every reference has its owner: pages are conserved, and none is free while in use.
  void CheckReferences() {
    std::vector<int> held(kPool);
    std::vector<int> kept(kPool);
    for (const auto& holder : holders_) {
      for (const PageId page : holder->pages.pages()) ++held[page];
    }
    for (const auto& [key, entry] : model_.entries) {
      for (const auto& [layer, page] : entry.pages) ++kept[page];
    }
    int64_t cached = 0;
    int64_t used = 0;
    for (int page = 0; page < kPool; ++page) {
      ASSERT_LE(kept[page], 1) << page;
      ASSERT_EQ(pool_.references(page), held[page] + kept[page]) << page;
      used += held[page] > 0;
      cached += held[page] == 0 && kept[page] > 0;
    }
    ASSERT_EQ(pool_.used(), used);
    ASSERT_EQ(pool_.cached(), cached);
    ASSERT_EQ(pool_.free(), kPool - used - cached);
    ASSERT_EQ(index_.num_nodes(), static_cast<int64_t>(model_.entries.size()));
  }

  std::mt19937 random_;
  PagePool pool_{kPool};
  PrefixIndex index_{pool_, kPageTokens, GetParam()};
  Model model_;
  std::vector<std::unique_ptr<Holder>> holders_;
};

TEST_P(PrefixIndexModelTest, AgreesWithItUnderRandomTraffic) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  random_.seed(seed);
  int hits = 0;
  for (int i = 0; i < 50000; ++i) {
    const int operation = holders_.empty() ? 0 : Draw(10);
    const int number = holders_.empty() ? 0 : Draw(static_cast<int>(holders_.size()));
    if (operation <= 2 && holders_.size() < kMostHolders) {
      Start();
      hits += holders_.back()->cursor.blocks();
    } else if (operation <= 2 || operation == 7) {
      Leave(number);
    } else if (operation <= 6) {
      Extend(*holders_[number]);
    } else if (operation == 8) {
      Evict();
    } else {
      Shed(*holders_[number]);
    }
    CheckReferences();
    if (HasFailure()) FAIL() << "operation " << operation << " number " << i;
  }
  EXPECT_GT(hits, 1000);
  EXPECT_EQ(index_.full_walks(), 0);
}

// All bits of the hashes; one, so that they collide; none, so that nothing but the comparison of
// tokens and parents tells blocks apart.
INSTANTIATE_TEST_SUITE_P(HashBits, PrefixIndexModelTest, testing::Values(~uint64_t{0}, 1, 0));

}  // namespace
}  // namespace skipstone
