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

  absl::Status Run(const std::vector<std::string>& arguments, Io& io) override {
    if (arguments.size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrFormat("expected one TEXT, got %d arguments; quote it", arguments.size()));
    }
    const auto options = connection_.ToCallOptions();
    if (!options.ok()) return options.status();
    v1::TokenizeRequest request;
    request.set_text(arguments[0]);
    request.set_add_special_tokens(special_);
    const auto response = Client(connection_.server).Tokenize(request, *options);
    if (!response.ok()) return response.status();
    if (connection_.json) {
      io.out << ProtoToJson(*response).dump(2) << '\n';
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
};

}  // namespace

std::unique_ptr<Command> MakeTokenizeCommand() { return std::make_unique<TokenizeCommand>(); }

}  // namespace skipstone::client
