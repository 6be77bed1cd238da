#include "client/cli/prometheus.h"

#include <curl/curl.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

namespace skipstone::client {
namespace {

using Json = nlohmann::json;

constexpr long kSeconds = 60;
constexpr size_t kMostBytes = size_t{256} << 20;  // of an answer

size_t Append(char* data, size_t size, size_t count, void* answer) {
  auto& text = *static_cast<std::string*>(answer);
  if (text.size() + size * count > kMostBytes) return 0;  // ends the transfer with an error
  text.append(data, size * count);
  return size * count;
}

absl::StatusOr<std::string> Get(const std::string& url) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  if (curl == nullptr) return absl::InternalError("curl_easy_init failed");
  std::string answer;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, kSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer);
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) return absl::UnavailableError(curl_easy_strerror(code));
  return answer;
}

std::string Escaped(const std::string& text) {
  const std::unique_ptr<char, void (*)(void*)> escaped(
      curl_easy_escape(nullptr, text.c_str(), static_cast<int>(text.size())), curl_free);
  return escaped.get();
}

PrometheusSeries SeriesOf(const Json& json) {
  PrometheusSeries series;
  json.at("metric").get_to(series.labels);
  for (const Json& point : json.at("values")) {
    double value = 0;  // in text: "NaN" and "+Inf" are none of JSON
    if (!absl::SimpleAtod(point.at(1).get<std::string>(), &value)) continue;
    series.points.emplace_back(static_cast<int64_t>(point.at(0).get<double>() * 1e3), value);
  }
  return series;
}

}  // namespace

absl::StatusOr<std::vector<PrometheusSeries>> ParsePrometheusAnswer(const std::string& text) {
  // Third-party code that throws.
  try {
    const Json json = Json::parse(text);
    if (json.at("status") != "success") {
      return absl::InvalidArgumentError(json.at("error").get<std::string>());
    }
    std::vector<PrometheusSeries> all;
    for (const Json& series : json.at("data").at("result")) all.push_back(SeriesOf(series));
    return all;
  } catch (const std::exception&) {
    return absl::InvalidArgumentError(absl::StrFormat("no answer of Prometheus: '%.80s'", text));
  }
}

absl::StatusOr<std::vector<PrometheusSeries>> QueryPrometheus(const std::string& url,
                                                              const std::string& query,
                                                              const PrometheusRange& range) {
  const absl::StatusOr<std::string> answer = Get(
      absl::StrFormat("%s/api/v1/query_range?query=%s&start=%.3f&end=%.3f&step=%.3f", url,
                      Escaped(query), 1e-3 * static_cast<double>(absl::ToUnixMillis(range.begin)),
                      1e-3 * static_cast<double>(absl::ToUnixMillis(range.end)),
                      absl::ToDoubleSeconds(range.step)));
  if (!answer.ok()) {
    return absl::UnavailableError(
        absl::StrFormat("%s: %s", url, std::string(answer.status().message())));
  }
  auto series = ParsePrometheusAnswer(*answer);
  if (series.ok()) return series;
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: %s", url, std::string(series.status().message())));
}

}  // namespace skipstone::client
