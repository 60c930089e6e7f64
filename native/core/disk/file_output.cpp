#include "read_back.h"

namespace dvcr {
namespace {

class FileOutput final : public DiskOutput {
 public:
  FileOutput(int fd, uint64_t virtual_size) : file_(fd), least_(virtual_size) {}

  [[nodiscard]] bool in_order() const override { return false; }

  // With its length in place the file's pieces can be written at the same time.
  void begin(std::optional<uint64_t> size) override {
    if (size) file_.truncate(std::max(*size, least_));
  }

  void write(uint64_t offset, Bytes bytes, const std::vector<PackedCluster>&) override {
    file_.write(offset, {bytes.data(), div_ceil(bytes.size(), kDiskAlign) * kDiskAlign});
  }

  void zeros(uint64_t, uint64_t) override {}

  void finish(uint64_t size) override {
    file_.truncate(std::max(size, least_));
    file_.sync();
  }

  void verify(uint64_t size, const std::string& sha256) override { check_back(file_, 0, size, sha256, cancelled_); }
  void cancel() override { cancelled_ = true; }
  [[nodiscard]] uint64_t written() const override { return file_.written(); }

 private:
  DiskFile file_;
  uint64_t least_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

void DiskOutput::verify(uint64_t, const std::string&) {
  throw Error(code::kInternal, "a disk was to be read back that cannot be");
}

std::unique_ptr<DiskOutput> make_file_output(int fd, uint64_t virtual_size) {
  return std::make_unique<FileOutput>(fd, virtual_size);
}

}  // namespace dvcr
