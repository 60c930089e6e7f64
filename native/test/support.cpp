#include "support.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>

#include "codec.h"

namespace dvcr::test {

namespace {

class TestSource final : public ByteSource {
 public:
  TestSource(Bytes bytes, const ConvertOptions& options)
      : inner_(bytes, options.chunk), ranges_(bytes), options_(options) {}
  Bytes peek() override { return inner_.peek(); }
  void consume(size_t count) override { inner_.consume(count); }
  [[nodiscard]] std::optional<uint64_t> size() const override {
    return options_.known_size ? inner_.size() : std::nullopt;
  }
  RangeReader* ranges() override { return options_.with_ranges ? &ranges_ : nullptr; }

 private:
  MemorySource inner_;
  MemoryRanges ranges_;
  ConvertOptions options_;
};

std::vector<std::vector<uint8_t>>& kept_buffers() {
  thread_local std::vector<std::vector<uint8_t>> kept;
  return kept;
}

constexpr size_t kMostKept = 8;

std::string quoted(const std::string& word) {
  std::string out = "'";
  for (char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::vector<uint8_t> spare_buffer() {
  auto& kept = kept_buffers();
  if (kept.empty()) return {};
  std::vector<uint8_t> buffer = std::move(kept.back());
  kept.pop_back();
  return buffer;
}

void keep_buffer(std::vector<uint8_t> buffer) {
  auto& kept = kept_buffers();
  if (kept.size() == kMostKept) return;
  buffer.clear();
  kept.push_back(std::move(buffer));
}

CollectSink::CollectSink(size_t lag, uint64_t cap)
    : disk(spare_buffer()), lag_(lag), cap_(cap), room_(spare_buffer()) {}

CollectSink::~CollectSink() {
  keep_buffer(std::move(room_));
}

void CollectSink::expect_no_failure() const {
  if (failed_) throw std::logic_error("the sink was used after its error");
}

MutableBytes CollectSink::reserve(size_t want) {
  expect_no_failure();
  return room_of(want);
}

// The end of the buffer, so that what is written behind the room is written behind the allocation.
MutableBytes CollectSink::room_of(size_t want) {
  if (room_.size() < want) room_.resize(want);
  reserved_ = MutableBytes(room_).last(want);
  return reserved_;
}

void CollectSink::commit(size_t count) {
  if (count > reserved_.size()) throw std::logic_error("more was committed than reserved");
  keep(size, Bytes(reserved_).first(count));
  size += count;
}

void CollectSink::zero(uint64_t length) {
  expect_no_failure();
  size += length;
  zeros += length;
  disk.resize(static_cast<size_t>(std::min(size, cap_)));
}

MutableBytes CollectSink::reserve_unit(size_t packed, size_t unit_size) {
  expect_no_failure();
  if (unit_size == 0 || unit_size > kMaxUnitSize) throw std::logic_error("a unit larger than a window");
  return room_of(packed);
}

void CollectSink::commit_unit(const CompressedUnit& unit) {
  if (unit.packed_size > reserved_.size()) throw std::logic_error("more was committed than reserved");
  if (unit.guest_size > unit.unit_size || unit.min_size > unit.unit_size) throw std::logic_error("wrong unit sizes");
  pending_.push_back(
      {unit, {reserved_.begin(), reserved_.begin() + static_cast<std::ptrdiff_t>(unit.packed_size)}, size});
  size += unit.guest_size;
  ++units;
  unit_bytes += unit.guest_size;
  disk.resize(static_cast<size_t>(std::min(size, cap_)));
  while (pending_.size() > lag_) {
    decode(pending_.front());
    pending_.pop_front();
  }
}

void CollectSink::finish() {
  for (; !pending_.empty(); pending_.pop_front()) decode(pending_.front());
}

void CollectSink::decode(const Pending& pending) {
  const CompressedUnit& unit = pending.unit;
  std::vector<uint8_t> out(unit.unit_size);
  failed_ = true;  // until all went well
  DecodedUnit decoded = decode_unit(unit.codec, pending.packed, out);
  if (decoded.produced < unit.min_size) {
    throw Error(code::kCorruptCluster, "the cluster at offset " + std::to_string(unit.host_offset) +
                                           " unpacks to only " + std::to_string(decoded.produced) + " bytes");
  }
  std::fill(out.begin() + static_cast<std::ptrdiff_t>(decoded.produced), out.end(), uint8_t{0});
  if (unit.observer != nullptr) unit.observer->unit_decoded(unit.host_offset, decoded.consumed);
  keep(pending.at, Bytes(out).first(unit.guest_size));
  failed_ = false;
}

void CollectSink::keep(uint64_t at, Bytes bytes) {
  if (at >= cap_) return;
  uint64_t end = std::min(at + bytes.size(), cap_);
  if (disk.size() < end) disk.resize(static_cast<size_t>(end));
  std::copy_n(bytes.begin(), end - at, disk.begin() + static_cast<std::ptrdiff_t>(at));
}

Converted convert(Bytes image, const ConvertOptions& options) {
  TestSource origin(image, options);
  PrefixSource source(origin);
  ScratchBudget budget(options.limits.max_scratch);
  Converted result;
  {
    ImageReader reader(source, options.limits, budget, std::filesystem::temp_directory_path().string());
    CollectSink sink(options.lag);
    Converted failure = caught([&] {
      std::unique_ptr<DiskImage> opened = open_image(source, reader, options.open);
      result.info = opened->info();
      opened->convert(sink);
      sink.finish();
      reader.drain();
    });
    result.code = failure.code;
    result.message = failure.message;
    result.disk = std::move(sink.disk);
    result.size = sink.size;
    result.units = sink.units;
    result.unit_bytes = sink.unit_bytes;
    result.zeros = sink.zeros;
    result.scratch_left = budget.used();
  }
  result.scratch_peak = budget.peak();
  return result;
}

Converted caught(const std::function<void()>& action) {
  Converted result;
  try {
    action();
  } catch (const Error& error) {
    result.code = std::string(error.code());
    result.message = error.what();
  }
  return result;
}

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "dvcr-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
  directory_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string run(const std::vector<std::string>& command) {
  std::string line;
  for (const std::string& word : command) line += quoted(word) + " ";
  line += "2>&1";
  FILE* pipe = popen(line.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot run " + line);
  std::string output;
  char buffer[4096];
  for (size_t got = 0; (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.append(buffer, got);
  if (pclose(pipe) != 0) throw std::runtime_error(line + " failed: " + output);
  return output;
}

std::vector<uint8_t> qemu_raw(const std::string& path, std::string_view format) {
  std::string out = path + ".expected";
  run({"qemu-img", "convert", "-f", std::string(format), "-O", "raw", path, out});
  std::vector<uint8_t> bytes = read_file(out);
  std::filesystem::remove(out);
  return bytes;
}

std::vector<uint8_t> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  file.seekg(0, std::ios::end);
  std::vector<uint8_t> bytes(static_cast<size_t>(file.tellg()));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

void write_file(const std::string& path, Bytes bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

std::vector<uint8_t> make_disk(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> disk(size);
  for (size_t at = 0; at < size;) {
    // Lengths spread evenly over the powers of two, from a sector to half a MiB.
    size_t length = std::min<size_t>(512u << random() % 11, size - at);
    uint64_t kind = random() % 4;
    for (size_t i = 0; i < length && kind < 2; ++i) {
      uint64_t value = random();
      disk[at + i] = kind == 0 ? static_cast<uint8_t>(value) : static_cast<uint8_t>('a' + value % 4);
    }
    at += length;
  }
  return disk;
}

std::vector<uint8_t> noise(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

void put_be(std::vector<uint8_t>& bytes, size_t offset, unsigned width, uint64_t value) {
  for (unsigned i = 0; i < width; ++i) bytes.at(offset + i) = static_cast<uint8_t>(value >> 8 * (width - 1 - i));
}

void put_le(std::vector<uint8_t>& bytes, size_t offset, unsigned width, uint64_t value) {
  for (unsigned i = 0; i < width; ++i) bytes.at(offset + i) = static_cast<uint8_t>(value >> 8 * i);
}

}  // namespace dvcr::test
