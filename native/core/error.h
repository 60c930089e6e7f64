// The one exception type of the core. Codes are stable strings; src/errors/catalogue.ts says for each
// what a user can do, which HTTP status it has and whether trying again can help.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace dvcr {

/// Every code the core can throw. docs/errors.md lists the fix for each; a test holds the two together.
namespace code {
inline constexpr std::string_view kAlias = "E_ALIAS";
inline constexpr std::string_view kAmbiguous = "E_AMBIGUOUS";
inline constexpr std::string_view kBackingFile = "E_BACKING_FILE";
inline constexpr std::string_view kCancelled = "E_CANCELLED";
inline constexpr std::string_view kChecksum = "E_CHECKSUM_MISMATCH";
inline constexpr std::string_view kCorruptArchive = "E_CORRUPT_ARCHIVE";
inline constexpr std::string_view kCorruptCluster = "E_CORRUPT_CLUSTER";
inline constexpr std::string_view kCorruptCompression = "E_CORRUPT_COMPRESSION";
inline constexpr std::string_view kCorruptImage = "E_CORRUPT_IMAGE";
inline constexpr std::string_view kDecoderMemory = "E_DECODER_MEMORY";
inline constexpr std::string_view kDirty = "E_DIRTY";
inline constexpr std::string_view kDiskDenied = "E_DISK_DENIED";
inline constexpr std::string_view kDiskFull = "E_DISK_FULL";
inline constexpr std::string_view kDiskIo = "E_DISK_IO";
inline constexpr std::string_view kDiskTooSmall = "E_DISK_TOO_SMALL";
inline constexpr std::string_view kDiskReadBack = "E_DISK_READ_BACK";
inline constexpr std::string_view kEmpty = "E_EMPTY";
inline constexpr std::string_view kEncrypted = "E_ENCRYPTED";
inline constexpr std::string_view kExternalData = "E_EXTERNAL_DATA";
inline constexpr std::string_view kFormatMismatch = "E_FORMAT_MISMATCH";
inline constexpr std::string_view kInternal = "E_INTERNAL";
inline constexpr std::string_view kMetadataLimit = "E_METADATA_LIMIT";
inline constexpr std::string_view kMultiFile = "E_MULTI_FILE";
inline constexpr std::string_view kNested = "E_NESTED_IMAGE";
inline constexpr std::string_view kNestedCompression = "E_NESTED_COMPRESSION";
inline constexpr std::string_view kNoDisk = "E_NO_DISK";
inline constexpr std::string_view kNotADisk = "E_NOT_A_DISK";
inline constexpr std::string_view kOutOfOrder = "E_OUT_OF_ORDER";
inline constexpr std::string_view kOverlap = "E_OVERLAP";
inline constexpr std::string_view kScratchIo = "E_SCRATCH_IO";
inline constexpr std::string_view kScratchLimit = "E_SCRATCH_LIMIT";
inline constexpr std::string_view kSeveralDisks = "E_SEVERAL_DISKS";
inline constexpr std::string_view kSizeMismatch = "E_SIZE_MISMATCH";
inline constexpr std::string_view kSourceIo = "E_SOURCE_IO";
inline constexpr std::string_view kTooLarge = "E_TOO_LARGE";
inline constexpr std::string_view kTrailingData = "E_TRAILING_DATA";
inline constexpr std::string_view kTruncated = "E_TRUNCATED";
inline constexpr std::string_view kUndeclaredVhd = "E_UNDECLARED_FIXED_VHD";
inline constexpr std::string_view kUnsupportedFeature = "E_UNSUPPORTED_FEATURE";
inline constexpr std::string_view kUnsupportedFormat = "E_UNSUPPORTED_FORMAT";
}  // namespace code

/// A failure with a stable code. `what()` is one line for a person, without the code.
class Error : public std::exception {
 public:
  Error(std::string_view code, std::string message) : code_(code), message_(std::move(message)) {}
  [[nodiscard]] std::string_view code() const noexcept { return code_; }
  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string_view code_;  // always one of the constants above, which live for ever
  std::string message_;
};

}  // namespace dvcr
