// The list of hostile inputs.
#pragma once

#include <string_view>
#include <vector>

namespace dvcr::test {

struct HostileRow {
  unsigned number;
  std::string_view input;
  std::string_view outcome;             ///< the codes, or what is done with it
  std::vector<std::string_view> tests;  ///< SUITE.TEST, or FILE.test.ts: TITLE
};

const std::vector<HostileRow>& hostile_rows();

}  // namespace dvcr::test
