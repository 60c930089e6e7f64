#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "../zero_bytes.h"
#include "disk_output.h"

namespace dvcr {
namespace {

/// A reader that takes nothing must not hold up the end of the process: how often it is looked whether that came (ms).
constexpr int kWakeUp = 200;

class PipeOutput final : public DiskOutput {
 public:
  PipeOutput(int fd, uint64_t virtual_size) : fd_(fd), least_(virtual_size) {}

  [[nodiscard]] bool in_order() const override { return true; }
  [[nodiscard]] uint64_t hole() const override { return 0; }
  void begin(std::optional<uint64_t>) override {}
  void write(uint64_t, Bytes bytes, const std::vector<PackedCluster>&) override { put(bytes); }
  void zeros(uint64_t, uint64_t length) override { put_zeros(length); }
  void finish(uint64_t size) override { put_zeros(std::max(size, least_) - written_); }
  void cancel() override { cancelled_ = true; }
  [[nodiscard]] uint64_t written() const override { return written_; }

 private:
  void put_zeros(uint64_t length) {
    while (length > 0) {
      const Bytes part = zero_bytes(length);
      put(part);
      length -= part.size();
    }
  }

  // The descriptor does not block, or each write would last until its reader has taken all of it.
  void put(Bytes bytes) {
    while (!bytes.empty()) {
      if (cancelled_) throw Error(code::kCancelled, "the export was cancelled");
      pollfd wait{fd_, POLLOUT, 0};
      if (::poll(&wait, 1, kWakeUp) == 0) continue;
      const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
      if (done < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (done < 0) {
        throw Error(code::kDiskIo, std::string("writing to the output failed: ") +
                                       (errno == EPIPE ? "its reader has gone" : std::strerror(errno)));
      }
      bytes = bytes.subspan(static_cast<size_t>(done));
      written_ += static_cast<uint64_t>(done);
    }
  }

  int fd_;
  uint64_t least_;
  std::atomic<uint64_t> written_ = 0;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

std::unique_ptr<DiskOutput> make_pipe_output(int fd, uint64_t virtual_size) {
  return std::make_unique<PipeOutput>(fd, virtual_size);
}

}  // namespace dvcr
