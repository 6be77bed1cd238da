// Upper bounds of the histograms of request_metrics.h and server_metrics.h.
#pragma once

namespace skipstone::server {

// Supersets of the bounds that other LLM servers use, so that their dashboards keep working, with
// finer ones below: a 7B model on a current GPU lies under their first bound.
inline constexpr double kTokenSeconds[] = {
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15,
    0.2,   0.3,    0.4,   0.5,    0.75, 1.0,   2.5,  5.0,   7.5,  10.0, 20.0, 40.0,  80.0};
inline constexpr double kFirstTokenSeconds[] = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08,
                                                0.1,   0.25,   0.5,   0.75, 1.0,  2.5,  5.0,  7.5,
                                                10.0,  20.0,   40.0,  80.0, 160., 640., 2560.};
inline constexpr double kRequestSeconds[] = {
    0.005, 0.01, 0.025, 0.05, 0.1,  0.2,  0.3,  0.5,   0.8,   1.0,   1.5,   2.0,    2.5,   5.0,
    10.0,  15.0, 20.0,  30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
inline constexpr double kTokens[] = {1,   2,    5,    10,   20,    50,    100,   200,
                                     500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
inline constexpr double kStepSeconds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                          0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                          1.0,    2.5,     5.0,    10.0};
inline constexpr double kNats[] = {0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2,
                                   0.3,    0.5,   1.0,   2.0,  4.0,  8.0, 16.0};
inline constexpr double kShares[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0};
inline constexpr double kRows[] = {1,   2,   4,   8,   16,   32,   48,   64,  96,
                                   128, 192, 256, 512, 1024, 2048, 4096, 8192};

}  // namespace skipstone::server
