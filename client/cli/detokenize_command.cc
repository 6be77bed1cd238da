// `skipstone detokenize`: the text of token ids.
#include <memory>

#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/connection_flags.h"
#include "client/cli/proto_json.h"
#include "client/cli/token_ids_flag.h"
#include "client/client.h"

namespace skipstone::client {
namespace {

class DetokenizeCommand : public Command {
 public:
  std::string name() const override { return "detokenize"; }
  std::string summary() const override { return "prints the text of token ids"; }
  std::string usage() const override {
    return "[flags] --ids 1,2,3 | --ids @FILE\n\n  skipstone detokenize --ids 306,626\n";
  }
  void AddFlags(FlagSet& flags) override {
    connection_.AddTo(flags);
    ids_.AddTo(flags);
  }

  absl::Status Prepare(const std::vector<std::string>& arguments) override {
    if (!arguments.empty()) {
      return absl::InvalidArgumentError(absl::StrFormat("unexpected \"%s\"", arguments[0]));
    }
    if (!ids_.given()) return absl::InvalidArgumentError("expected --ids");
    if (absl::Status status = ids_.Check(); !status.ok()) return status;
    return connection_.ReadInto(options_);
  }

  absl::Status Run(Io& io) override {
    const auto ids = ids_.Read();
    if (!ids.ok()) return ids.status();
    v1::DetokenizeRequest request;
    request.mutable_ids()->Add(ids->begin(), ids->end());
    const auto response = Client(connection_.server).Detokenize(request, options_);
    if (!response.ok()) return response.status();
    if (connection_.json) {
      PrintJson(ProtoToJson(*response), io.out);
    } else {
      io.out << response->text() << '\n';
    }
    return absl::OkStatus();
  }

 private:
  ConnectionFlags connection_;
  TokenIdsFlag ids_;
  CallOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakeDetokenizeCommand() { return std::make_unique<DetokenizeCommand>(); }

}  // namespace skipstone::client
