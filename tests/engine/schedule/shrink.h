// Cuts a failing list down: first to its shortest failing prefix, then by runs of items that it
// fails without. What is left fails, and no longer does without any single one of its items
// (unless the tries ran out).
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <vector>

namespace skipstone {

template <typename T>
std::vector<T> Shrink(std::vector<T> items, const std::function<bool(std::span<const T>)>& fails,
                      int most_tries = 3000) {
  size_t passing = 0;  // a length
  while (items.size() - passing > 1 && most_tries-- > 0) {
    const size_t middle = passing + (items.size() - passing) / 2;
    if (fails(std::span<const T>(items).first(middle))) {
      items.resize(middle);
    } else {
      passing = middle;
    }
  }
  size_t run = std::max<size_t>(1, items.size() / 2);
  while (!items.empty() && most_tries > 0) {
    bool dropped = false;
    for (size_t begin = 0; begin < items.size() && most_tries-- > 0;) {
      std::vector<T> rest(items.begin(), items.begin() + begin);
      rest.insert(rest.end(), items.begin() + std::min(begin + run, items.size()), items.end());
      if (fails(rest)) {
        items = std::move(rest);
        dropped = true;
      } else {
        begin += run;
      }
    }
    if (run == 1 && !dropped) break;
    run = std::max<size_t>(1, run / 2);
  }
  return items;
}

}  // namespace skipstone
