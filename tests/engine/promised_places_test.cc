#include "engine/promised_places.h"

#include "gtest/gtest.h"

namespace skipstone {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(PromisedPlacesTest, APlaceIsTakenUntilItsTime) {
  PromisedPlaces places;
  const Time start{seconds(100)};
  places.Promise({.sequences = 1, .prompt_tokens = 10}, start, start + milliseconds(500));
  places.Promise({.sequences = 2, .prompt_tokens = 20}, start, start + seconds(3));
  EXPECT_EQ(places.Outstanding(start).sequences, 3);
  EXPECT_EQ(places.Outstanding(start).prompt_tokens, 30);
  EXPECT_EQ(places.Outstanding(start + seconds(1)).sequences, 2);
  EXPECT_EQ(places.Outstanding(start + seconds(4)).sequences, 0);
}

TEST(PromisedPlacesTest, ThereIsRoomForEachTimeUpToTheLongest) {
  PromisedPlaces places;
  Time now{seconds(100)};
  int made = 0;
  for (int round = 0; round < 3; ++round) {  // the slots are used again
    for (Duration wait{}; wait <= PromisedPlaces::kLongest; wait += milliseconds(10)) {
      places.Promise({.sequences = 1}, now, now + wait);
      ++made;
    }
    EXPECT_EQ(places.Outstanding(now).sequences, made);
    now += PromisedPlaces::kLongest + seconds(1);
    EXPECT_EQ(places.Outstanding(now).sequences, 0);
    made = 0;
  }
}

}  // namespace
}  // namespace skipstone
