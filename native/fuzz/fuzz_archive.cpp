// The one disk in a tar: the same for every chunking, never longer than its member says.
#include "archive_source.h"
#include "harness.h"
#include "unpack_inputs.h"

namespace dvcr::fuzz {
namespace {

struct Taken {
  Buffer content;
  std::string member;
  test::Converted end;
  bool opened = false;
  uint64_t size = 0;
};

Taken take(ByteSource& source) {
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
  MemorySource first(setup.image, setup.options.chunk);
  MemorySource second(setup.image, setup.other_chunk);
  const Taken one = take(first);
  const Taken two = take(second);
  require(one.end.code == two.end.code, "chunks do not change the code");
  require(one.content == two.content && one.member == two.member, "chunks do not change the disk");
  require(one.content.size() <= setup.image.size(), "nothing is given twice");
  test::FileInMemory file(setup.image);
  const Taken three = take(file);
  require(one.end.code.empty() == three.end.code.empty(), "what is accepted does not depend on the source",
          one.end.code + " " + three.end.code);
  if (!one.end.code.empty()) return;
  require(one.content == three.content, "the disk does not depend on the source");
  require(one.opened && one.content.size() == one.size, "the disk has its member's length");
}

}  // namespace
}  // namespace dvcr::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dvcr::fuzz::check_archive({data, size});
  return 0;
}
