// What a tokenizer makes of a text under limits of tokens, against the whole of it.
#pragma once

#include <random>
#include <string>

#include "engine/model/tokenizer.h"

namespace skipstone {

// Fails the test unless texts that fit are encoded in whole, others are refused with a true number
// of tokens, and of the last ones there are as many as asked for.
void CheckTokenLimits(const Tokenizer& tokenizer, const std::string& text, std::mt19937& random);

}  // namespace skipstone
