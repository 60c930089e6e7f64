#include "layer_files.h"

#include <algorithm>

namespace dvcr {
namespace {

constexpr std::string_view kDirectory = "disk";
constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr size_t kMaxHides = 4096;

/// As a path below the root: `./disk/x` and `/disk/x` are `disk/x`.
std::string_view below_root(std::string_view name) {
  for (;;) {
    if (name.starts_with('/')) {
      name.remove_prefix(1);
    } else if (name.starts_with("./")) {
      name.remove_prefix(2);
    } else {
      break;
    }
  }
  while (name.ends_with('/')) name.remove_suffix(1);
  return name;
}

bool is_within(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

bool is_hidden(std::string_view path, const std::vector<std::string>& hidden) {
  return std::any_of(hidden.begin(), hidden.end(), [&](std::string_view hides) {
    if (hides.ends_with('/')) return hides == "/" || path.starts_with(hides);
    return path == hides || is_within(path, hides);
  });
}

void note_hides(std::string_view path, const TarMember& member, std::vector<std::string>& hides) {
  size_t slash = path.rfind('/');
  std::string_view parent = slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  std::string hidden;
  if (name == kOpaque) {
    hidden = std::string(parent) + "/";
  } else if (name.starts_with(kWhiteout)) {
    hidden = (parent.empty() ? "" : std::string(parent) + "/") + std::string(name.substr(kWhiteout.size()));
  } else if (!member.directory) {
    hidden = std::string(path);
  } else {
    return;
  }
  std::string_view bare = below_root(hidden);
  if (!bare.empty() && bare != kDirectory && !is_within(bare, kDirectory)) return;
  if (hides.size() == kMaxHides) {
    throw Error(code::kMetadataLimit, "a layer has more than " + std::to_string(kMaxHides) + " entries under disk/");
  }
  hides.push_back(std::move(hidden));
}

}  // namespace

LayerListing find_layer_disk(TarMembers& members, const std::vector<std::string>& hidden) {
  LayerListing listing;
  while (std::optional<TarMember> member = members.next()) {
    std::string_view path = below_root(member->name);
    std::string_view name = path.substr(path.rfind('/') + 1);
    if (member->regular && member->size > 0 && is_within(path, kDirectory) && !name.starts_with(kWhiteout) &&
        !is_hidden(path, hidden)) {
      listing.disk = path;
      return listing;
    }
    if (!member->directory && listing.seen.size() < kMaxSeenFiles) listing.seen.push_back(member->name);
    note_hides(path, *member, listing.hides);
  }
  return listing;
}

}  // namespace dvcr
