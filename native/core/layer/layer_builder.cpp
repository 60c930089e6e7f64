#include "layer_builder.h"

#include <atomic>

#include "pipeline.h"

namespace dvcr {
namespace {

// A run of zeros is handed on at this length, so that its digest does not wait for what follows.
constexpr uint64_t kZerosAtOnce = 64 * kMiB;

}  // namespace

struct LayerBuilder::Impl {
  LayerOptions options;
  Limits limits;
  ScratchBudget& budget;
  BeginLayer begin;
  LayerWriter writer;
  std::optional<KeptLayer> kept;
  std::unique_ptr<FrameEncoder> encoder;  // for the tar's head and tail; nothing for an uncompressed layer
  SizePlan plan;
  TarFrame frame;
  unsigned attempts = 0;
  bool live = false;      // a layer of a size that is not disproved is being written
  bool dropping = false;  // a hint proved wrong and nothing is kept: only counting
  std::atomic<uint64_t> disk = 0;
  size_t window_size = kFrameSize;
  std::unique_ptr<Window> window;  // being filled; when it is empty, the disk before `pending_zeros` ends at 1 MiB
  uint64_t pending_zeros = 0;      // at the end of the disk, not in any window
  size_t slot = 0;                 // where the reserved unit begins in the arena
  size_t slot_packed = 0;          // bytes reserved for it
  Buffer bounce;
  LayerResult result;
  Pipeline pipeline;  // last: its threads use what stands above

  Impl(LayerOptions given, const Limits& given_limits, ScratchBudget& scratch, LayerOutput& output,
       BeginLayer begin_layer)
      : options(std::move(given)),
        limits(given_limits),
        budget(scratch),
        begin(std::move(begin_layer)),
        writer(options.codec, output),
        encoder(make_frame_encoder(options.codec)),
        pipeline(writer, options.memory) {}

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
    const bool keep = !plan.size || (!plan.exact && plan.keep_body);
    if (keep) kept.emplace(options.scratch_directory, budget);
    // Even a layer without compression is kept compressed.
    const bool stored_as_zstd = keep && options.codec == LayerCodec::kNone;
    pipeline.start({options.codec, stored_as_zstd ? LayerCodec::kZstd : options.codec, options.threads,
                    options.allow_nested, kept ? &*kept : nullptr});
    if (plan.size) begin_layer(*plan.size, plan.from);
    pipeline.route(live, keep);
  }

  void begin_layer(uint64_t size, const std::string& from) {
    frame = begin(size, from, ++attempts);
    pipeline.begin_layer();
    live = true;
    pipeline.route(true, false);
    Buffer packed;
    if (encoder != nullptr) encoder->append_first(frame.head, packed);
    pipeline.push_literal(std::move(frame.head), std::move(packed));
  }

  // Books `count` more bytes of the disk.
  void admit(uint64_t count) {
    const uint64_t before = disk.load();
    if (count > limits.max_virtual_size || before > limits.max_virtual_size - count) {
      throw Error(code::kTooLarge,
                  "the disk has more bytes than the limit of " + std::to_string(limits.max_virtual_size));
    }
    const uint64_t after = before + count;
    disk.store(after);
    if (!plan.size || after <= *plan.size) return;
    if (plan.exact) {
      throw Error(code::kSizeMismatch,
                  "the disk has more than the " + std::to_string(*plan.size) + " bytes that " + plan.from + " gave");
    }
    live = false;
    dropping = !kept;
    pipeline.route(false, kept.has_value());
  }

  // Makes room at the end of the disk; zeros that no window holds yet come before.
  void open_window() {
    if (window == nullptr) window = pipeline.acquire();
    if (window->raw.size() > 0) return;
    const uint64_t remainder = pending_zeros % kFrameSize;
    push_zeros(pending_zeros - remainder);
    pending_zeros = 0;
    window->guest_offset = disk.load() - remainder;
    window->capacity = window_size - static_cast<size_t>(window->guest_offset % window_size);
    window->raw.reserve(window->capacity);
    fill_zeros(static_cast<size_t>(remainder));
  }

  void fill_zeros(size_t count) {
    if (count > 0) std::memset(window->raw.extend(count).data(), 0, count);
  }

  void push_zeros(uint64_t length) {
    if (length > 0) pipeline.push_zeros(length);
  }

  void close_window_if_full() {
    if (window->room() == 0) pipeline.push(std::move(window));
  }

  MutableBytes reserve(size_t want) {
    if (dropping) return drop_room(kFrameSize).first(std::clamp<size_t>(want, 1, kFrameSize));
    open_window();
    const size_t count = std::clamp<size_t>(want, 1, window->room());
    return {window->raw.data() + window->raw.size(), count};
  }

  MutableBytes drop_room(size_t size) {
    bounce.truncate(0);
    return bounce.extend(size);
  }

  void commit(size_t count) {
    if (dropping) {
      admit(count);
      return;
    }
    if (window == nullptr || count > window->room()) {
      throw Error(code::kInternal, std::to_string(count) + " bytes were committed that had not been reserved");
    }
    admit(count);
    window->raw.extend(count);
    close_window_if_full();
  }

  void zero(uint64_t length) {
    admit(length);
    if (dropping) return;
    if (window != nullptr && window->raw.size() > 0) {
      const size_t count = static_cast<size_t>(std::min<uint64_t>(length, window->room()));
      fill_zeros(count);
      length -= count;
      close_window_if_full();
    }
    pending_zeros += length;
    if (pending_zeros >= kZerosAtOnce) {
      push_zeros(pending_zeros - pending_zeros % kFrameSize);
      pending_zeros %= kFrameSize;
    }
  }

  MutableBytes reserve_unit(size_t packed, size_t unit_size) {
    if (unit_size == 0 || unit_size > kMaxUnitSize) {
      throw Error(code::kInternal, "a unit of " + std::to_string(unit_size) + " bytes was reserved");
    }
    if (dropping) return drop_room(packed);
    if (unit_size > window_size) {
      window_size = kMaxUnitSize;
      pipeline.use_large_windows();
    }
    open_window();
    slot = window->arena.size();
    slot_packed = packed;
    return window->arena.extend(kWrapBefore + packed + kWrapAfter).subspan(kWrapBefore, packed);
  }

  void commit_unit(const CompressedUnit& unit) {
    if (dropping) {
      admit(unit.guest_size);
      return;
    }
    if (window == nullptr || unit.packed_size > slot_packed || unit.unit_size > kMaxUnitSize ||
        unit.guest_size > unit.unit_size || unit.min_size > unit.unit_size) {
      throw Error(code::kInternal, "a unit at byte " + std::to_string(unit.host_offset) + " does not fit its slot");
    }
    admit(unit.guest_size);
    window->arena.truncate(slot + kWrapBefore + unit.packed_size + kWrapAfter);
    slot_packed = 0;
    if (unit.guest_size <= window->room()) {
      window->units.push_back({unit, slot, window->raw.size(), false, 0});
      window->raw.extend(unit.guest_size);
      close_window_if_full();
    } else {
      decode_across_windows(unit);
    }
  }

  // Units lie at multiples of their size in every sane image, and so never across two windows.
  void decode_across_windows(const CompressedUnit& unit) {
    const Bytes packed = Bytes(window->arena.bytes()).subspan(slot + kWrapBefore, unit.packed_size);
    bounce.truncate(0);
    const MutableBytes plain = bounce.extend(unit.unit_size);
    const size_t consumed = decode_checked(unit, packed, plain).consumed;
    for (Bytes rest = plain.first(unit.guest_size); !rest.empty();) {
      if (window == nullptr) next_window(rest.size());
      const Bytes part = rest.first(std::min(rest.size(), window->room()));
      rest = rest.subspan(part.size());
      window->raw.append(part);
      if (rest.empty()) window->units.push_back({unit, 0, window->raw.size(), true, consumed});
      close_window_if_full();
    }
  }

  // As open_window(), in the middle of booked content of which `rest` bytes are still to come.
  void next_window(size_t rest) {
    window = pipeline.acquire();
    window->guest_offset = disk.load() - rest;
    window->capacity = window_size - static_cast<size_t>(window->guest_offset % window_size);
    window->raw.reserve(window->capacity);
  }

  void finish() {
    const uint64_t size = disk.load();
    if (dropping) throw SizeHintWrong(size);
    if (pending_zeros > 0) open_window();
    if (window != nullptr && window->raw.size() > 0) pipeline.push(std::move(window));
    if (!plan.size || *plan.size != size) {
      if (plan.size && plan.exact) {
        throw Error(code::kSizeMismatch, "the disk has " + std::to_string(size) + " bytes and not the " +
                                             std::to_string(*plan.size) + " that " + plan.from + " gave");
      }
      if (!kept) throw SizeHintWrong(size);
      plan.from = "counted";
      push_kept(size);
    }
    pipeline.route(true, false);
    Buffer packed;
    if (encoder != nullptr) encoder->append(frame.tail, packed);
    pipeline.push_literal(std::move(frame.tail), std::move(packed));
    pipeline.drain();
    const std::string diff_id = pipeline.finish_diff_id();
    result = {diff_id, writer.finish(diff_id), writer.size(), size, plan.from};
  }

  // Pushes the body from scratch, under a head that is right.
  void push_kept(uint64_t size) {
    pipeline.drain();
    kept->seal();
    begin_layer(size, plan.from);
    std::unique_ptr<Window> batch;
    const auto push_batch = [&] {
      if (batch != nullptr) pipeline.push(std::move(batch));
    };
    while (const auto record = kept->next()) {
      if (record->zeros > 0) {
        push_batch();
        pipeline.push_zeros(record->zeros);
        continue;
      }
      if (batch != nullptr && batch->raw.size() + record->raw_size > window_size) push_batch();
      if (batch == nullptr) {
        batch = pipeline.acquire();
        batch->kept = true;
        batch->raw.reserve(window_size);
      }
      batch->segments.push_back({Segment::From::kArena, batch->arena.size(), record->packed, record->raw_size});
      batch->raw.extend(record->raw_size);
      kept->read(batch->arena.extend(record->packed));
    }
    push_batch();
  }
};

LayerBuilder::LayerBuilder(LayerOptions options, const Limits& limits, ScratchBudget& budget, LayerOutput& output,
                           BeginLayer begin)
    : impl_(std::make_unique<Impl>(std::move(options), limits, budget, output, std::move(begin))) {}

LayerBuilder::~LayerBuilder() = default;

void LayerBuilder::start(const SizePlan& plan) {
  impl_->call([&] { impl_->start(plan); });
}
MutableBytes LayerBuilder::reserve(size_t want) {
  return impl_->call([&] { return impl_->reserve(want); });
}
void LayerBuilder::commit(size_t count) {
  impl_->call([&] { impl_->commit(count); });
}
void LayerBuilder::zero(uint64_t length) {
  impl_->call([&] { impl_->zero(length); });
}
MutableBytes LayerBuilder::reserve_unit(size_t packed, size_t unit_size) {
  return impl_->call([&] { return impl_->reserve_unit(packed, unit_size); });
}
void LayerBuilder::commit_unit(const CompressedUnit& unit) {
  impl_->call([&] { impl_->commit_unit(unit); });
}
void LayerBuilder::finish() {
  impl_->call([&] { impl_->finish(); });
}
const LayerResult& LayerBuilder::result() const {
  return impl_->result;
}
void LayerBuilder::cancel() {
  impl_->pipeline.fail(std::make_exception_ptr(Error(code::kCancelled, "the import was cancelled")));
}
void LayerBuilder::stop() {
  impl_->pipeline.stop();
}
uint64_t LayerBuilder::disk_bytes() const {
  return impl_->disk.load();
}

}  // namespace dvcr
