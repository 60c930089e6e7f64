#include "disk_sink.h"

#include <algorithm>
#include <cstring>

#include "../codec.h"
#include "../disk_image.h"
#include "../zero_bytes.h"
#include "disk_pipeline.h"

namespace dvcr {
namespace {

constexpr size_t kWindowSize = kMiB;

}  // namespace

struct DiskSink::Impl {
  DiskOptions options;
  Limits limits;
  DiskOutput& output;
  SizePlan plan;
  std::vector<Digest> digests;
  DiskResult result;
  std::atomic<uint64_t> disk = 0;  // bytes of content
  size_t window_size = kWindowSize;
  std::unique_ptr<DiskWindow> window;  // being filled; when it is empty, the disk before `pending_zeros` is aligned
  uint64_t pending_zeros = 0;          // at the end of the disk, in no window
  size_t slot_packed = 0;              // bytes reserved for a unit at the end of the arena
  std::vector<uint8_t> bounce;
  DiskPipeline pipeline;  // last: its threads use what stands above

  Impl(DiskOptions given, const Limits& given_limits, DiskOutput& disk_output)
      : options(std::move(given)), limits(given_limits), output(disk_output), pipeline(disk_output, digests) {
    for (const Checksum& checksum : options.checksums) digests.emplace_back(checksum.algorithm);
    if (options.verify) digests.emplace_back("sha256");
  }

  // Runs a call of the front thread; its error stops the other threads too.
  template <typename Body>
  auto call(Body&& body) {
    try {
      pipeline.check();
      return body();
    } catch (...) {
      pipeline.fail(std::current_exception());
      throw;
    }
  }

  void start(const SizePlan& given) {
    plan = given;
    if (plan.exact && plan.size) check_limit(*plan.size);
    output.begin(plan.exact ? plan.size : std::nullopt);
    pipeline.start(options.threads, [this](Bytes first) {
      if (!options.allow_nested) refuse_nested(first);
    });
  }

  void check_limit(uint64_t size) const {
    if (!options.size_is_limit || size <= options.size) return;
    throw Error(code::kDiskTooSmall, "the disk needs " + std::to_string(size) + " bytes, more than the " +
                                         std::to_string(options.size) + " that were asked for; it is never cut");
  }

  // Books `count` more bytes of the disk.
  void admit(uint64_t count) {
    const uint64_t before = disk.load();
    if (count > limits.max_virtual_size || before > limits.max_virtual_size - count) {
      throw Error(code::kTooLarge,
                  "the disk has more bytes than the limit of " + std::to_string(limits.max_virtual_size));
    }
    disk.store(before + count);
    check_limit(before + count);
    if (plan.size && plan.exact && before + count > *plan.size) throw_other_size("more than the ");
  }

  [[noreturn]] void throw_other_size(const char* how) const {
    throw Error(code::kSizeMismatch, std::string("the disk has ") + how + std::to_string(*plan.size) +
                                         " bytes that its " + plan.from + " says");
  }

  // Makes room at the end of the disk; zeros that no window holds yet come before.
  DiskWindow& open_window() {
    if (window == nullptr) window = pipeline.acquire();
    if (window->filled > 0) return *window;
    const uint64_t remainder = pending_zeros % kWindowSize;
    push_zeros(disk.load() - pending_zeros, pending_zeros - remainder);
    pending_zeros = 0;
    const uint64_t offset = disk.load() - remainder;
    window->open(offset, window_size - static_cast<size_t>(offset % window_size));
    fill_zeros(static_cast<size_t>(remainder));
    return *window;
  }

  void fill_zeros(size_t count) {
    std::memset(window->content.get() + window->filled, 0, count);
    window->filled += count;
  }

  void push_zeros(uint64_t offset, uint64_t length) {
    if (length > 0) pipeline.push_zeros(offset, length);
  }

  void close_window_if_full() {
    if (window->room() == 0) pipeline.push(std::move(window));
  }

  MutableBytes reserve(size_t want) {
    DiskWindow& open = open_window();
    return {open.content.get() + open.filled, std::clamp<size_t>(want, 1, open.room())};
  }

  void commit(size_t count) {
    if (window == nullptr || count > window->room()) {
      throw Error(code::kInternal, std::to_string(count) + " bytes were committed that had not been reserved");
    }
    admit(count);
    window->filled += count;
    // An empty window has no place yet: zeros may come in front of it.
    if (window->filled > 0) close_window_if_full();
  }

  void zero(uint64_t length) {
    admit(length);
    add_zeros(length);
  }

  void add_zeros(uint64_t length) {
    if (window != nullptr && window->filled > 0) {
      const auto count = static_cast<size_t>(std::min<uint64_t>(length, window->room()));
      fill_zeros(count);
      length -= count;
      close_window_if_full();
    }
    pending_zeros += length;
  }

  MutableBytes reserve_unit(size_t packed, size_t unit_size) {
    if (unit_size == 0 || unit_size > kMaxUnitSize) {
      throw Error(code::kInternal, "a unit of " + std::to_string(unit_size) + " bytes was reserved");
    }
    if (unit_size > window_size) {
      window_size = kMaxUnitSize;
      pipeline.use_large_windows();
    }
    DiskWindow& open = open_window();
    if (open.arena.size() < open.arena_used + packed) open.arena.resize(open.arena_used + packed);
    slot_packed = packed;
    return MutableBytes(open.arena).subspan(open.arena_used, packed);
  }

  void commit_unit(const CompressedUnit& unit) {
    if (window == nullptr || unit.packed_size > slot_packed || unit.unit_size > kMaxUnitSize ||
        unit.guest_size > unit.unit_size || unit.min_size > unit.unit_size) {
      throw Error(code::kInternal, "a unit at byte " + std::to_string(unit.host_offset) + " does not fit its slot");
    }
    admit(unit.guest_size);
    slot_packed = 0;
    if (unit.guest_size > window->room()) {
      decode_across_windows(unit);
      return;
    }
    window->units.push_back({unit, window->arena_used, window->filled, 0});
    window->arena_used += unit.packed_size;
    window->filled += unit.guest_size;
    close_window_if_full();
  }

  // Units lie at multiples of their size in every sane image, and so never across two windows.
  void decode_across_windows(const CompressedUnit& unit) {
    const Bytes packed = Bytes(window->arena).subspan(window->arena_used, unit.packed_size);
    bounce.resize(unit.unit_size);
    const size_t consumed = decode_checked(unit, packed, bounce).consumed;
    uint64_t offset = disk.load() - unit.guest_size;
    for (Bytes rest = Bytes(bounce).first(unit.guest_size); !rest.empty();) {
      if (window == nullptr) {
        window = pipeline.acquire();
        window->open(offset, window_size - static_cast<size_t>(offset % window_size));
      }
      const Bytes part = rest.first(std::min(rest.size(), window->room()));
      rest = rest.subspan(part.size());
      offset += part.size();
      std::memcpy(window->content.get() + window->filled, part.data(), part.size());
      window->filled += part.size();
      if (rest.empty()) window->observed.push_back({unit.observer, unit.host_offset, consumed});
      close_window_if_full();
    }
  }

  void finish() {
    const uint64_t size = disk.load();
    if (plan.size && plan.exact && *plan.size != size) throw_other_size("fewer than the ");
    result.content_size = size;
    push_zeros(size - pending_zeros, pending_zeros);
    if (window != nullptr && window->filled > 0) pipeline.push(std::move(window));
    pipeline.drain();
    check_digests();
    const uint64_t disk_size = std::max(size, options.size);
    output.finish(disk_size);
    if (options.verify) verify(size, output.stored_size(disk_size));
  }

  /// The digest of what was written goes on over the zeros behind the content's `size` bytes.
  void verify(uint64_t size, uint64_t stored) {
    Digest& digest = digests.back();
    for (uint64_t left = stored - size; left > 0;) {
      const Bytes part = zero_bytes(left);
      digest.update(part);
      left -= part.size();
    }
    output.verify(stored, digest.finish());
  }

  void check_digests() {
    for (size_t i = 0; i < options.checksums.size(); ++i) {
      const Checksum& wanted = options.checksums[i];
      result.checksums.push_back({wanted.algorithm, digests[i].finish()});
      const std::string& found = result.checksums.back().expected;
      if (wanted.expected.empty() || wanted.expected == found) continue;
      throw Error(code::kChecksum,
                  "the disk: " + wanted.algorithm + " sum mismatch: " + wanted.expected + " != " + found);
    }
  }
};

DiskSink::DiskSink(DiskOptions options, const Limits& limits, DiskOutput& output)
    : impl_(std::make_unique<Impl>(std::move(options), limits, output)) {}

DiskSink::~DiskSink() = default;

void DiskSink::start(const SizePlan& plan) {
  impl_->call([&] { impl_->start(plan); });
}
MutableBytes DiskSink::reserve(size_t want) {
  return impl_->call([&] { return impl_->reserve(want); });
}
void DiskSink::commit(size_t count) {
  impl_->call([&] { impl_->commit(count); });
}
void DiskSink::zero(uint64_t length) {
  impl_->call([&] { impl_->zero(length); });
}
MutableBytes DiskSink::reserve_unit(size_t packed, size_t unit_size) {
  return impl_->call([&] { return impl_->reserve_unit(packed, unit_size); });
}
void DiskSink::commit_unit(const CompressedUnit& unit) {
  impl_->call([&] { impl_->commit_unit(unit); });
}
void DiskSink::finish() {
  impl_->call([&] { impl_->finish(); });
}
void DiskSink::cancel() {
  impl_->pipeline.fail(std::make_exception_ptr(Error(code::kCancelled, "the export was cancelled")));
}
void DiskSink::stop() {
  impl_->pipeline.stop();
}
uint64_t DiskSink::disk_bytes() const {
  return impl_->disk.load();
}
const DiskResult& DiskSink::result() const {
  return impl_->result;
}

}  // namespace dvcr
