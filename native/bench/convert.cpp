// Converts an image file to a raw file with the core alone: what `npm run bench:core` compares with qemu-img.
// Usage: core_convert SOURCE TARGET
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <system_error>
#include <thread>

#include "content.h"
#include "disk/disk_sink.h"
#include "disk_image.h"
#include "verify.h"

namespace dvcr::bench {
namespace {

class File {
 public:
  File(const char* path, int flags) : fd_(::open(path, flags | O_CLOEXEC, 0644)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), path);
  }
  ~File() { ::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

void convert(const char* source_path, const char* target_path) {
  const unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  const Limits limits;
  const std::string scratch = std::filesystem::path(target_path).parent_path().string();
  const File source(source_path, O_RDONLY);
  const File target(target_path, O_WRONLY | O_CREAT | O_TRUNC);
  FdSource chunks(source.fd(), std::filesystem::file_size(source_path));
  VerifySource bytes(chunks, {});
  Content content(bytes, limits, threads, false);
  ScratchBudget budget(limits.max_scratch);
  ImageReader reader(content.output(), limits, budget, scratch.empty() ? "." : scratch);
  const std::unique_ptr<DiskImage> image = open_image(content.output(), reader, {});
  const std::unique_ptr<DiskOutput> output = make_file_output(target.fd(), 0);
  DiskOptions options;
  options.threads = threads;
  DiskSink sink(options, limits, *output);  // destroyed first: its threads tell the image about units
  sink.start({});
  image->convert(sink);
  reader.drain();
  content.finish();
  sink.finish();
}

}  // namespace
}  // namespace dvcr::bench

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: core_convert SOURCE TARGET\n", stderr);
    return 2;
  }
  try {
    dvcr::bench::convert(argv[1], argv[2]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "core_convert: %s\n", error.what());
    return 1;
  }
}
