// The one disk in a tar, be it an OVA, a saved container image or sparse: the same for every chunking, as long as its
// member says.
#include "archive_source.h"
#include "harness.h"
#include "tar_reader.h"
#include "unpack_inputs.h"

namespace dvcr::fuzz {
namespace {

struct Taken {
  Buffer content;
  Buffer beginning;  ///< the same by range, where the source has any
  std::string member;
  test::Converted end;
  bool opened = false;
  bool cut = false;  ///< not read to its end
  uint64_t size = 0;
};

Taken take(ByteSource& source) {
  PrefixSource prefix(source);
  prefix.prefix(512);
  ArchiveSource archive(prefix, {});
  Taken taken;
  taken.end = test::caught([&] {
    archive.open();
    taken.opened = true;
    taken.member = archive.member();
    taken.size = archive.size().value_or(0);
    if (RangeReader* ranges = archive.ranges()) {
      require(ranges->size() == taken.size, "both ways to read the disk know its length");
      taken.beginning.resize(std::min<uint64_t>(taken.size, 512));
      require(ranges->read_at(0, taken.beginning), "bytes in memory can always be read");
    }
    for (Bytes part = archive.peek(); !part.empty(); part = archive.peek()) {
      // Holes may have any length; what follows in the product bounds them.
      if (taken.content.size() > kLargestDisk) {
        taken.cut = true;
        return;
      }
      taken.content.insert(taken.content.end(), part.begin(), part.end());
      archive.consume(part.size());
    }
    archive.finish();
  });
  return taken;
}

void check_archive(Bytes input) {
  if (input.size() < kConfigSize) return;
  is_tar(input.subspan(kConfigSize));
  const Setup setup = setup_of("", input, input.subspan(kConfigSize));
  MemorySource first(setup.image, setup.options.chunk);
  MemorySource second(setup.image, setup.other_chunk);
  const Taken one = take(first);
  const Taken two = take(second);
  require(one.end.code == two.end.code, "chunks do not change the code");
  require((one.cut || one.content == two.content) && one.member == two.member, "chunks do not change the disk");
  test::FileInMemory file(setup.image);
  const Taken three = take(file);
  if (!one.end.code.empty() || one.cut) return;
  // A file is looked through beforehand, and so may be accepted where a pipe finds out too late.
  require(three.end.code.empty(), "what a pipe accepts a file does", three.end.code);
  require(is_tar(setup.image), "what is read as a tar is recognised as one");
  require(one.content == three.content, "the disk does not depend on the source");
  require(std::equal(three.beginning.begin(), three.beginning.end(), one.content.begin()),
          "a range of the disk is what its stream has");
  require(one.opened && one.content.size() == one.size, "the disk has its member's length");
}

}  // namespace
}  // namespace dvcr::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dvcr::fuzz::check_archive({data, size});
  return 0;
}
