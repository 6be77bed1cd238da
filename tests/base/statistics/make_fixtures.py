#!/usr/bin/env python3
"""Writes what the statistics of experiments should be, by the packages of others.

Usage: make_fixtures.py FOLDER [--seed N] [--cases N]

Oracles, pinned: gbstats==0.8.0, spotify-confidence==4.1.0, ssrm-test==0.1.5 with numpy<2 and scipy,
in a virtual environment outside the repository. Each file has a line for each case, of results
only: inputs are drawn alike here and in fixture.h, from the seed in the first line.
"""
import argparse
import math
import pathlib
import warnings

import numpy as np
import pandas as pd
import scipy.optimize
import scipy.special
import scipy.stats
import spotify_confidence
from gbstats.frequentist.tests import (FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest,
                                       TwoSidedTTest)
from gbstats.models.statistics import (ProportionStatistic, RatioStatistic,
                                       RegressionAdjustedStatistic, SampleMeanStatistic)
from spotify_confidence.analysis.frequentist.confidence_computers import z_test_computer
from spotify_confidence.analysis.frequentist.sample_ratio_test import sample_ratio_test

if not hasattr(np, "Inf"):
    np.Inf = np.inf  # which ssrm-test still names so
from ssrm_test.ssrm_test import sequential_p_values  # noqa: E402

MASK = (1 << 64) - 1


def mix64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


class Inputs:
    """The numbers of one case: fixture.h draws the same."""

    def __init__(self, seed, case):
        self.counter = mix64(mix64(seed) + case)

    def uniform(self, low=0.0, high=1.0):
        unit = (mix64(self.counter) >> 11) * 2.0 ** -53
        self.counter = (self.counter + 1) & MASK
        return low + (high - low) * unit

    def whole(self, low, high):
        return low + int(self.uniform() * (high - low + 1))

    def scaled(self, low, high, least, most):
        unit = self.uniform(low, high)
        return unit * 2.0 ** self.whole(least, most)


def distributions(inputs):
    z = inputs.uniform(-37, 8)
    p = inputs.scaled(0.5, 1, -900, 0)
    degrees = inputs.scaled(0.5, 4, 0, 22)
    t = inputs.uniform(-30, 6)
    q = inputs.scaled(0.5, 1, -60, 0)
    classes = inputs.whole(1, 30)
    x = classes * inputs.scaled(0.01, 2, 0, 4)
    return [scipy.special.ndtr(z), scipy.special.ndtri(p), scipy.stats.t.cdf(t, degrees),
            scipy.stats.t.ppf(q, degrees), scipy.stats.chi2.sf(x, classes)]


# Sums over an arm's units, as moments.h has them: n, means, centred co-moments.
def arm_size(inputs):
    n = inputs.whole(20, 200)
    return n << inputs.whole(0, 9)


def draw_value(inputs, near, low, high):
    """Of the first arm; of the second near it, so that p-values are of all sizes."""
    if near is None:
        return inputs.uniform(low, high)
    return near * (1 + inputs.scaled(-1, 1, -8, -2))


def draw_mean(inputs, near=(None,)):
    n, mean = arm_size(inputs), draw_value(inputs, near[0], 0.5, 10)
    deviation = inputs.uniform(0.5, 5)
    return n, [mean], [[deviation * deviation * (n - 1)]]


def draw_proportion(inputs, near=(None,)):
    n, p = arm_size(inputs), draw_value(inputs, near[0], 0.05, 0.75)
    return n, [p], 1 + int(p * (n - 1))


def draw_pair(inputs, near=(None, None)):
    n = arm_size(inputs)
    means = [draw_value(inputs, near[0], 0.5, 10), draw_value(inputs, near[1], 1, 5)]
    a, b, correlation = inputs.uniform(0.5, 5), inputs.uniform(0.5, 2), inputs.uniform(-0.95, 0.95)
    return n, means, [[a * a * (n - 1), correlation * a * b * (n - 1)],
                      [correlation * a * b * (n - 1), b * b * (n - 1)]]


def draw_quad(inputs, near=(None,) * 4):
    n = arm_size(inputs)
    means = [draw_value(inputs, near[i], 1, 5) for i in range(4)]
    factor = [[inputs.uniform(-1, 1) for _ in range(4)] for _ in range(4)]
    return n, means, [[sum(factor[i][k] * factor[j][k] for k in range(4)) * (n - 1)
                       for j in range(4)] for i in range(4)]


def draw_arms(draw, inputs):
    control = draw(inputs)
    return control, draw(inputs, control[1])


def sample_mean(n, means, comoments, i):
    return SampleMeanStatistic(n=n, sum=n * means[i],
                               sum_squares=comoments[i][i] + n * means[i] ** 2)


def products(n, means, comoments):
    return comoments[0][1] + n * means[0] * means[1]


def ratio_statistic(arm):
    return RatioStatistic(n=arm[0], m_statistic=sample_mean(*arm, 0),
                          d_statistic=sample_mean(*arm, 1), m_d_sum_of_products=products(*arm))


def cuped_statistic(arm):
    return RegressionAdjustedStatistic(n=arm[0], post_statistic=sample_mean(*arm, 0),
                                       pre_statistic=sample_mean(*arm, 1),
                                       post_pre_sum_of_products=products(*arm), theta=0)


def draw_options(inputs):
    return {"alpha": [0.01, 0.05, 0.1][inputs.whole(0, 2)],
            "difference_type": ["absolute", "relative"][inputs.whole(0, 1)],
            "sequential_tuning_parameter": [500, 5000, 50000][inputs.whole(0, 2)]}


def effect_row(control, treatment, options):
    fixed = {k: v for k, v in options.items() if k != "sequential_tuning_parameter"}
    welch = TwoSidedTTest(control, treatment, FrequentistConfig(**fixed))
    sequential = SequentialTwoSidedTTest(control, treatment, SequentialConfig(**options))
    return [welch.point_estimate, welch.confidence_interval[0], welch.p_value,
            sequential.confidence_interval[0], sequential.p_value]


def mean_effects(inputs):
    arms = [sample_mean(*arm, 0) for arm in draw_arms(draw_mean, inputs)]
    return effect_row(*arms, draw_options(inputs))


def proportion_effects(inputs):
    arms = [ProportionStatistic(n=n, sum=s) for n, _, s in draw_arms(draw_proportion, inputs)]
    return effect_row(*arms, draw_options(inputs))


def ratio_effects(inputs):
    arms = [ratio_statistic(arm) for arm in draw_arms(draw_pair, inputs)]
    return effect_row(*arms, draw_options(inputs))


def cuped_effects(inputs):
    arms = [cuped_statistic(arm) for arm in draw_arms(draw_pair, inputs)]
    return effect_row(*arms, draw_options(inputs))


class GivenStatistic:
    """An estimate that is already known, for gbstats's tests."""

    def __init__(self, n, mean, unadjusted_mean, variance):
        self.n, self.mean, self.unadjusted_mean, self.variance = n, mean, unadjusted_mean, variance


def ratio_gradient(means, i):
    gradient = np.zeros(4)
    gradient[i], gradient[i + 1] = 1 / means[i + 1], -means[i] / means[i + 1] ** 2
    return gradient


def cuped_ratio_effects(inputs):
    """gbstats 0.8.0 has no adjusted ratios: their variance is gradients through covariances."""
    arms = draw_arms(draw_quad, inputs)
    n = sum(arm[0] for arm in arms)
    means = sum(arm[0] * np.array(arm[1]) for arm in arms) / n
    squares = sum(np.array(arm[2]) + arm[0] * np.outer(arm[1], arm[1]) for arm in arms)
    covariance = (squares - n * np.outer(means, means)) / (n - 1)
    before = ratio_gradient(means, 2)
    theta = (ratio_gradient(means, 0) @ covariance @ before) / (before @ covariance @ before)
    given = []
    for size, m, comoments in arms:
        gradient = ratio_gradient(m, 0) - theta * ratio_gradient(m, 2)
        variance = gradient @ (np.array(comoments) / (size - 1)) @ gradient
        given.append(GivenStatistic(size, m[0] / m[1] - theta * m[2] / m[3], m[0] / m[1], variance))
    return effect_row(*given, draw_options(inputs))


def sample_ratio(inputs):
    arms = inputs.whole(2, 5)
    weights = np.array([inputs.uniform(0.1, 1) for _ in range(arms)])
    weights = weights / sum(weights)
    scale = 2.0 ** inputs.whole(4, 12)
    looks = [[int(scale * weights[arm] * inputs.uniform(0.9, 1.1)) for arm in range(arms)]
             for _ in range(5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        p_value = sequential_p_values(np.array(looks), weights)[-1]
    counts = np.sum(looks, axis=0)
    chi_square = scipy.stats.chisquare(counts, weights * counts.sum()).pvalue
    table = pd.DataFrame({"arm": range(arms), "n": counts})
    other, _ = sample_ratio_test(table, "arm", "n", dict(enumerate(weights)))
    assert abs(other - chi_square) < 1e-9
    return [p_value, chi_square]


def plan(inputs):
    """Smallest effects of a mean (absolute, relative, sequential) and a share; units for one."""
    alpha, power = inputs.uniform(0.01, 0.2), inputs.uniform(0.5, 0.95)
    share = inputs.uniform(0.1, 0.9)  # of the treatment
    units = 2.0 ** inputs.whole(10, 22)
    mean, deviation, p = inputs.uniform(1, 5), inputs.uniform(0.5, 5), inputs.uniform(0.05, 0.8)
    rise = inputs.uniform(0.02, 0.15)
    z_alpha, z_power = scipy.stats.norm.isf(alpha / 2), scipy.stats.norm.ppf(power)
    control, treatment = units * (1 - share), units * share
    kappa = (1 - share) / share  # control units for each of treatment
    # spotify's formula for the smallest effect is this one for equal arms alone.
    frame = pd.DataFrame({"avg": [mean], "var": [deviation ** 2], "kappa": [1.0],
                          "non-inferiority margin": [None], "current_number_of_units": [units],
                          "proportion_of_total": [1.0]})
    equal = z_test_computer.powered_effect(frame, z_alpha, z_power, False, False, "avg", "var")[0]
    absolute = (z_alpha + z_power) * deviation * math.sqrt(1 / control + 1 / treatment)
    assert abs(equal - (z_alpha + z_power) * deviation * math.sqrt(4 / units)) < 1e-9 * equal

    def root(error, high):
        return scipy.optimize.brentq(error, 0, high, xtol=1e-300, rtol=1e-14)

    z = (z_alpha + z_power) * deviation / mean
    relative = root(lambda r: r - z * math.sqrt(1 / treatment + (1 + r) ** 2 / control), 1e3)
    # The half width of gbstats's interval on an estimate of 0 with variance 1.
    given = [GivenStatistic(units / 2, 0, 0, units / 4) for _ in range(2)]
    config = SequentialConfig(alpha=alpha, difference_type="absolute")
    critical = SequentialTwoSidedTTest(*given, config).confidence_interval[1]
    sequential = absolute / (z_alpha + z_power) * (critical + z_power)
    proportion = root(lambda e: e - (z_alpha + z_power) * math.sqrt(
        p * (1 - p) / control + (p + e) * (1 - p - e) / treatment), 1 - p)
    needed = z_test_computer.required_sample_size(
        True, False, rise, p, p * (1 - p), z_alpha, kappa, 1.0, z_power)
    return [absolute, relative, sequential, proportion, float(needed)]


FILES = {"distributions": (distributions, ".17g"), "mean_effects": (mean_effects, ".11g"),
         "proportion_effects": (proportion_effects, ".11g"),
         "ratio_effects": (ratio_effects, ".11g"), "cuped_effects": (cuped_effects, ".11g"),
         "cuped_ratio_effects": (cuped_ratio_effects, ".11g"),
         "sample_ratio": (sample_ratio, ".12g"), "plan": (plan, ".12g")}


def check_against_spotify(seed, cases):
    """Welch's test on absolute differences of means: two oracles, one fixture."""
    rows, expected = [], []
    for case in range(cases):
        inputs = Inputs(seed, case)
        arms = [sample_mean(*arm, 0) for arm in draw_arms(draw_mean, inputs)]
        config = FrequentistConfig(alpha=0.05, difference_type="absolute")
        welch = TwoSidedTTest(*arms, config)
        expected.append((welch.point_estimate, *welch.confidence_interval, welch.p_value))
        rows += [(case, arm, a.sum, a.sum_squares, a.n) for arm, a in enumerate(arms)]
    frame = pd.DataFrame(rows, columns=["case", "arm", "sum", "squares", "n"])
    test = spotify_confidence.StudentsTTest(
        frame, numerator_column="sum", numerator_sum_squares_column="squares",
        denominator_column="n", categorical_group_columns=["case", "arm"],
        correction_method="bonferroni", interval_size=0.95)
    found = test.difference(level_1=0, level_2=1, groupby="case", absolute=True, verbose=True)
    columns = ["difference", "ci_lower", "ci_upper", "p-value"]
    for row, values in zip(found[columns].to_numpy(dtype=float), expected):
        assert np.allclose(row, values, rtol=1e-9, atol=1e-12), (row, values)


def write(folder, seed, cases):
    check_against_spotify(seed, cases)
    folder.mkdir(parents=True, exist_ok=True)
    for index, (name, (function, form)) in enumerate(FILES.items()):
        lines = [f"seed {seed + index} cases {cases}"]
        for case in range(cases):
            row = function(Inputs(seed + index, case))
            lines.append(" ".join(format(float(value), form) for value in row))
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--cases", type=int, default=1000)
    args = parser.parse_args()
    write(args.folder, args.seed, args.cases)


if __name__ == "__main__":
    main()
