// The one disk in a tar: the same for every chunking, never longer than its member says.
#include "archive_source.h"
#include "harness.h"

namespace dvcr::fuzz {
namespace {

struct Taken {
  Buffer content;
  std::string member;
  test::Converted end;
  bool opened = false;
  uint64_t size = 0;
};

Taken take(Bytes tar, size_t chunk) {
  MemorySource source(tar, chunk);
  PrefixSource prefix(source);
  prefix.prefix(512);
  ArchiveSource archive(prefix);
  Taken taken;
  taken.end = test::caught([&] {
    archive.open();
    taken.opened = true;
    taken.member = archive.member();
    taken.size = archive.size().value_or(0);
    for (Bytes part = archive.peek(); !part.empty(); part = archive.peek()) {
      taken.content.insert(taken.content.end(), part.begin(), part.end());
      archive.consume(part.size());
    }
    archive.finish();
  });
  return taken;
}

void check_archive(Bytes input) {
  if (input.size() < kConfigSize) return;
  const Setup setup = setup_of("", input);
  const Taken one = take(setup.image, setup.options.chunk);
  const Taken two = take(setup.image, setup.other_chunk);
  require(one.end.code == two.end.code, "chunks do not change the code");
  require(one.content == two.content && one.member == two.member, "chunks do not change the disk");
  require(one.content.size() <= setup.image.size(), "nothing is given twice");
  if (!one.end.code.empty()) return;
  require(one.opened && one.content.size() == one.size, "the disk has its member's length");
}

}  // namespace
}  // namespace dvcr::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dvcr::fuzz::check_archive({data, size});
  return 0;
}
