// A service's call of a Skipstone server. Run: skipstone_example [HOST:PORT]
#include <chrono>
#include <iostream>

#include "client/client.h"

using skipstone::client::CallOptions;
using skipstone::client::Client;
namespace v1 = skipstone::v1;

int main(int argc, char** argv) {
  const Client client(argc > 1 ? argv[1] : "localhost:50051");  // thread-safe; keep it

  v1::GenerateRequest request;
  request.set_text("In the beginning");
  request.mutable_skip()->set_spec("attn:last=33%");  // or set_level("attn-33")
  request.mutable_stopping()->set_max_tokens(32);
  request.mutable_sampling()->set_temperature(0);

  CallOptions options;
  options.timeout = std::chrono::seconds(10);  // retries included, while a server restarts
  options.metadata = {{"x-user-id", "42"}};

  const auto stream = client.GenerateStream(request, options);
  v1::GenerateEvent event;
  while (stream->Next(event)) {
    if (event.has_delta()) std::cout << event.delta().text() << std::flush;
    if (event.has_finished()) {
      const v1::Finished& finished = event.finished();
      std::cout << "\nKV pages: " << finished.kv_pages_used() << " used, "
                << finished.kv_pages_windowed() << " left their window, "
                << finished.kv_pages_omitted() << " never existed\n";
    }
  }
  if (!stream->status().ok()) std::cerr << stream->status() << "\n";
  return stream->status().ok() ? 0 : 1;
}
