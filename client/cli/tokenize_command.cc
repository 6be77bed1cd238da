// `skipstone tokenize`: a text's token ids and pieces.
#include <memory>

#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/connection_flags.h"
#include "client/cli/proto_json.h"
#include "client/cli/table.h"
#include "client/client.h"

namespace skipstone::client {
namespace {

class TokenizeCommand : public Command {
 public:
  std::string name() const override { return "tokenize"; }
  std::string summary() const override { return "prints the token ids and pieces of a text"; }
  std::string usage() const override {
    return "[flags] TEXT\n\n  skipstone tokenize 'In the beginning'\n";
  }
  void AddFlags(FlagSet& flags) override {
    connection_.AddTo(flags);
    flags.Add("special", &special_, "put the beginning-of-sequence token first; --nospecial: not");
  }

  absl::Status Prepare(const std::vector<std::string>& arguments) override {
    if (arguments.size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrFormat("expected one TEXT, got %d arguments; quote it", arguments.size()));
    }
    request_.set_text(arguments[0]);
    request_.set_add_special_tokens(special_);
    return connection_.ReadInto(options_);
  }

  absl::Status Run(Io& io) override {
    const auto response = Client(connection_.server).Tokenize(request_, options_);
    if (!response.ok()) return response.status();
    if (connection_.json) {
      PrintJson(ProtoToJson(*response), io.out);
      return absl::OkStatus();
    }
    Table table({"id", "piece"});
    for (int i = 0; i < response->ids_size(); ++i) {
      table.AddRow({std::to_string(response->ids(i)),
                    i < response->pieces_size() ? response->pieces(i) : ""});
    }
    table.Print(io.out);
    return absl::OkStatus();
  }

 private:
  ConnectionFlags connection_;
  bool special_ = true;
  v1::TokenizeRequest request_;
  CallOptions options_;
};

}  // namespace

std::unique_ptr<Command> MakeTokenizeCommand() { return std::make_unique<TokenizeCommand>(); }

}  // namespace skipstone::client
