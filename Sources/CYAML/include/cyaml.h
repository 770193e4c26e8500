// The few functions of libyaml that this package uses, found with dlopen when the first YAML file is read. Nothing is
// linked, so a program that reads none neither needs the library nor waits for it to load.

#ifndef CYAML_H
#define CYAML_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What became of an attempt to load the library.
typedef enum cy_status {
    CY_READY = 0,
    CY_MISSING = 1,      ///< no library of that name could be loaded
    CY_INCOMPLETE = 2    ///< it was loaded and lacks a function
} cy_status;

/// A loaded library, or the reason why there is none. It is never unloaded.
typedef struct cy_library cy_library;

/// Loads a library and resolves every function. `path` names one, with or without a directory; NULL tries the usual
/// names. NULL only where memory is out; the record is the caller's to free with `cy_forget`.
cy_library *cy_open(const char *path);
void cy_forget(cy_library *library);

/// The library that the whole process shares: the one that the environment variable PEFTFILE_LIBYAML names, else the
/// first usual name that loads. Opened at the first call; NULL only where memory is out.
const cy_library *cy_shared(void);

cy_status cy_library_status(const cy_library *library);
/// The loader's own message, or the missing function's name; empty when the library is ready.
const char *cy_library_detail(const cy_library *library);

/// What comes next in a YAML stream, as libyaml names it.
typedef enum cy_kind {
    CY_STREAM_END = 0,
    CY_DOCUMENT_START,
    CY_DOCUMENT_END,
    CY_ALIAS,
    CY_SCALAR,
    CY_SEQUENCE_START,
    CY_SEQUENCE_END,
    CY_MAPPING_START,
    CY_MAPPING_END,
    CY_OTHER,          ///< the start of the stream
    CY_FAILED          ///< the text is no YAML: `value` says why
} cy_kind;

typedef struct cy_event {
    cy_kind kind;
    size_t line;           ///< from 0
    const char *value;     ///< of a scalar, in UTF-8, `length` bytes; valid until the next call
    size_t length;
    bool is_plain;         ///< a scalar without quotes and without | or >
    bool has_anchor;
    bool has_tag;
} cy_event;

/// A stream that is being read.
typedef struct cy_parser cy_parser;

/// Begins to read `length` bytes of UTF-8, which must outlive the parser. Only on a library that is ready; NULL where
/// memory is out.
cy_parser *cy_parse(const cy_library *library, const char *bytes, size_t length);
/// The next event. After CY_STREAM_END and CY_FAILED it may not be called again.
cy_event cy_next(cy_parser *parser);
void cy_end(cy_parser *parser);

#ifdef __cplusplus
}
#endif

#endif
