#include "mutator.h"

#include <algorithm>
#include <array>
#include <utility>

#include "block_images.h"
#include "slots.h"

namespace dvcr::fuzz {

namespace {

constexpr std::array<uint64_t, 14> kEdges{0,
                                          1,
                                          2,
                                          0x7f,
                                          0xff,
                                          0x200,
                                          0xffff,
                                          0x7fffffff,
                                          0x80000000,
                                          0xffffffff,
                                          0x100000000,
                                          0x00ffffffffffffff,
                                          uint64_t{1} << 63,
                                          UINT64_MAX};

uint64_t pick(Random& random, uint64_t below) {
  return below == 0 ? 0 : (uint64_t{random()} << 31 | random()) % below;
}

uint64_t get(const Buffer& image, const test::Slot& slot) {
  return slot.big_endian ? load_be(image, slot.offset, slot.width) : load_le(image, slot.offset, slot.width);
}

void set(Buffer& image, const test::Slot& slot, uint64_t value) {
  if (slot.big_endian) {
    test::put_be(image, slot.offset, slot.width, value);
  } else {
    test::put_le(image, slot.offset, slot.width, value);
  }
}

void mutate_slot(Buffer& image, const std::vector<test::Slot>& slots, uint64_t step, Random& random) {
  const test::Slot& slot = slots[pick(random, slots.size())];
  const test::Slot& other = slots[pick(random, slots.size())];
  const uint64_t value = get(image, slot);
  switch (pick(random, 9)) {
    case 0:
      set(image, slot, get(image, other));
      break;
    case 1:
      set(image, slot, get(image, other));
      set(image, other, value);
      break;
    case 2:
      set(image, slot, value + step);
      break;
    case 3:
      set(image, slot, value - step);
      break;
    case 4:
      set(image, slot, value ^ uint64_t{1} << pick(random, slot.width * 8));
      break;
    case 5:
      set(image, slot, kEdges[pick(random, kEdges.size())]);
      break;
    case 6:
      set(image, slot, pick(random, image.size() + 2 * step));
      break;
    case 7:
      set(image, slot, value + 1);
      break;
    default:
      set(image, slot, get(image, other) + step * pick(random, 4));
  }
}

bool begins(const Buffer& image, size_t at, size_t length, std::string_view magic) {
  return image.size() >= length && at <= image.size() - length && has_magic(image, at, magic);
}

}  // namespace

void mutate_bytes(Buffer& image, Random& random) {
  if (image.empty()) {
    image.push_back(static_cast<uint8_t>(random()));
    return;
  }
  const size_t at = pick(random, image.size());
  const size_t length = std::min<size_t>(image.size() - at, 1 + pick(random, 64));
  const auto from = image.begin() + static_cast<std::ptrdiff_t>(at);
  switch (pick(random, 6)) {
    case 0:
      image[at] ^= static_cast<uint8_t>(1u << pick(random, 8));
      break;
    case 1:
      image[at] = static_cast<uint8_t>(random());
      break;
    case 2:
      for (size_t i = 0; i < std::min<size_t>(length, 8); ++i) image[at + i] = random() % 2 == 0 ? 0 : 0xff;
      break;
    case 3:
      image.resize(at);
      break;
    case 4: {
      const Buffer piece(from, from + static_cast<std::ptrdiff_t>(length));
      image.insert(image.begin() + static_cast<std::ptrdiff_t>(pick(random, image.size())), piece.begin(), piece.end());
      break;
    }
    default:
      image.erase(from, from + static_cast<std::ptrdiff_t>(length));
  }
}

void mutate_structure(std::string_view format, Buffer& image, Random& random) {
  const test::Slots slots = test::slots_of(format, image);
  const bool field = slots.entries.empty() || pick(random, 4) == 0;
  const std::vector<test::Slot>& some = field ? slots.fields : slots.entries;
  if (some.empty()) {
    mutate_bytes(image, random);
  } else {
    mutate_slot(image, some, slots.step, random);
  }
}

void repair(std::string_view format, Buffer& image) {
  if (format == "vpc") {
    for (size_t at : {size_t{0}, image.size() - std::min<size_t>(image.size(), 512)}) {
      if (begins(image, at, 512, "conectix")) test::seal_vhd_footer(image, at);
    }
    if (image.size() < 512) return;
    const uint64_t header = be64(image, 16);
    if (header < image.size() && begins(image, header, 1024, "cxsparse")) test::seal_vhd_header(image, header);
  }
  if (format == "vhdx") {
    for (size_t at : test::kVhdxHeaders) {
      if (begins(image, at, 4096, "head")) test::seal_crc32c(image, at, 4096);
    }
    for (size_t at : test::kVhdxRegions) {
      if (begins(image, at, 64 * kKiB, "regi")) test::seal_crc32c(image, at, 64 * kKiB);
    }
    for (size_t at = test::kVhdxLog; at < 2 * test::kVhdxLog; at += 4096) {
      if (!begins(image, at, 64, "loge")) continue;
      const size_t length = le32(image, at + 8);
      if (length >= 64 && length <= image.size() - at) test::seal_crc32c(image, at, length);
    }
  }
}

size_t mutate_input(std::string_view format, uint8_t* data, size_t size, size_t max_size, unsigned seed,
                    size_t (*plain)(uint8_t*, size_t, size_t)) {
  Random random(seed + 1);
  const bool pages = format == "vhdx";
  if (size <= kConfigSize || pick(random, 3) == 0) {
    size = plain(data, size, max_size);
    if (size <= kConfigSize || format != "vpc") return size;
  }
  const Bytes packed(data + kConfigSize, size - kConfigSize);
  Buffer image = test::spare_buffer();
  if (pages) {
    Buffer expanded = test::spare_buffer();
    const Bytes whole = expand_pages(packed, expanded);
    image.assign(whole.begin(), whole.end());
    test::keep_buffer(std::move(expanded));
  } else {
    image.assign(packed.begin(), packed.end());
  }
  for (uint64_t rounds = 1 + pick(random, 3); rounds > 0; --rounds) mutate_structure(format, image, random);
  if (pick(random, 8) != 0) repair(format, image);
  if (pages) {
    Buffer collapsed = collapse_pages(image);
    test::keep_buffer(std::exchange(image, std::move(collapsed)));
  }
  image.resize(std::min(image.size(), max_size - kConfigSize));
  std::copy(image.begin(), image.end(), data + kConfigSize);
  size = kConfigSize + image.size();
  test::keep_buffer(std::move(image));
  return size;
}

}  // namespace dvcr::fuzz
