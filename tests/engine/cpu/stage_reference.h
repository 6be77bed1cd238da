// Llama 2 in plain double-precision loops: the oracle of the stage tests.
#pragma once

#include <array>
#include <cmath>
#include <map>
#include <vector>

#include "tests/engine/cpu/stage_driver.h"
#include "tests/engine/cpu/stage_model.h"

namespace skipstone {

class StageReference {
 public:
  explicit StageReference(const StageModel& model) : model_(model) {}

  // Log-probabilities [vocab] of each row that needs logits.
  std::vector<std::vector<double>> Run(const StageStep& step) {
    std::vector<Vec> residual;
    for (const StageRow& row : step.rows) {
      Vec x(model_.shape.hidden);
      for (size_t i = 0; i < x.size(); ++i) x[i] = model_.At(model_.embedding, row.token, i);
      residual.push_back(x);
    }
    for (int l = 0; l < model_.shape.num_layers; ++l) RunLayer(step, l, residual);
    std::vector<Vec> out;
    for (size_t r = 0; r < step.rows.size(); ++r) {
      if (!step.rows[r].logits) continue;
      out.push_back(LogSoftmax(Times(model_.head, Norm(model_.final_norm, residual[r]))));
    }
    return out;
  }

 private:
  using Vec = std::vector<double>;

  void RunLayer(const StageStep& step, int l, std::vector<Vec>& residual) {
    const LayerTensors& w = model_.layers[l];
    const int rows = static_cast<int>(step.rows.size());
    std::vector<Vec> normed(rows);
    for (int r = 0; r < rows; ++r) {
      normed[r] = Norm(w.attention_norm, residual[r]);
      if (!step.UseOf(r, l).kv) continue;
      const std::array<int, 3> at = {step.rows[r].slot, l, step.rows[r].position};
      keys_[at] = Rope(Times(w.k, normed[r]), at[2]);
      values_[at] = Times(w.v, normed[r]);
    }
    for (int r = 0; r < rows; ++r) {
      if (!step.UseOf(r, l).query) continue;
      const Vec q = Rope(Times(w.q, normed[r]), step.rows[r].position);
      Add(Times(w.o, Attend(step, step.rows[r], l, q)), residual[r]);
    }
    for (int r = 0; r < rows; ++r) {
      const int map = step.UseOf(r, l).attention_map;
      if (map >= 0) AddMap(model_.attention_maps[l][map], w.attention_norm, residual[r]);
    }
    for (int r = 0; r < rows; ++r) {
      const int map = step.UseOf(r, l).mlp_map;
      if (map >= 0) AddMap(model_.mlp_maps[l][map], w.mlp_norm, residual[r]);
      if (!step.UseOf(r, l).mlp) continue;
      const Vec x = Norm(w.mlp_norm, residual[r]);
      Vec y = Times(w.gate, x);
      const Vec up = Times(w.up, x);
      for (size_t i = 0; i < y.size(); ++i) y[i] = y[i] / (1 + std::exp(-y[i])) * up[i];
      Add(Times(w.down, y), residual[r]);
    }
  }

  void AddMap(const StageMap& map, const Tensor& norm, Vec& residual) const {
    const Vec x = Norm(norm, residual);
    for (size_t i = 0; i < x.size(); ++i) {
      if (map.scale.data) residual[i] += model_.At(map.scale, 0, i) * x[i];
      if (map.bias.data) residual[i] += model_.At(map.bias, 0, i);
    }
    if (map.up.data) Add(Times(map.up, map.down.data ? Times(map.down, x) : x), residual);
  }

  Vec Attend(const StageStep& step, const StageRow& row, int l, const Vec& q) const {
    const ModelShape& s = model_.shape;
    std::vector<int> seen;
    for (int p = 0; p <= row.position; ++p) {
      if (step.Sees(row, l, p)) seen.push_back(p);
    }
    Vec out(q.size());
    for (int h = 0; h < s.heads; ++h) {
      const int kv = h / (s.heads / s.kv_heads) * s.head_dim;
      Vec scores;
      for (const int p : seen) {
        const Vec& k = keys_.at({row.slot, l, p});
        double dot = 0;
        for (int d = 0; d < s.head_dim; ++d) dot += q[h * s.head_dim + d] * k[kv + d];
        scores.push_back(dot / std::sqrt(s.head_dim));
      }
      const Vec logs = LogSoftmax(scores);
      for (size_t i = 0; i < seen.size(); ++i) {
        const Vec& v = values_.at({row.slot, l, seen[i]});
        for (int d = 0; d < s.head_dim; ++d) {
          out[h * s.head_dim + d] += std::exp(logs[i]) * v[kv + d];
        }
      }
    }
    return out;
  }

  Vec Norm(const Tensor& weight, const Vec& x) const {
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double scale = 1 / std::sqrt(squares / x.size() + model_.shape.norm_epsilon);
    Vec out(x.size());
    for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] * scale * model_.At(weight, 0, i);
    return out;
  }

  Vec Times(const Tensor& w, const Vec& x) const {
    Vec out(w.rows);
    for (int64_t o = 0; o < w.rows; ++o) {
      for (int64_t i = 0; i < w.cols; ++i) out[o] += model_.At(w, o, i) * x[i];
    }
    return out;
  }

  Vec Rope(Vec x, int position) const {
    const int dim = model_.shape.head_dim;
    for (size_t head = 0; head < x.size(); head += dim) {
      for (int i = 0; i < dim / 2; ++i) {
        const double angle = position * std::pow(model_.shape.rope_theta, -2.0 * i / dim);
        const double a = x[head + i];
        const double b = x[head + i + dim / 2];
        x[head + i] = a * std::cos(angle) - b * std::sin(angle);
        x[head + i + dim / 2] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
    return x;
  }

  static void Add(const Vec& x, Vec& to) {
    for (size_t i = 0; i < x.size(); ++i) to[i] += x[i];
  }

  static Vec LogSoftmax(const Vec& x) {
    double max = x[0];
    for (const double v : x) max = std::max(max, v);
    double sum = 0;
    for (const double v : x) sum += std::exp(v - max);
    Vec out;
    for (const double v : x) out.push_back(v - max - std::log(sum));
    return out;
  }

  const StageModel& model_;
  std::map<std::array<int, 3>, Vec> keys_;  // {slot, layer, position}
  std::map<std::array<int, 3>, Vec> values_;
};

}  // namespace skipstone
