// The layout of what libyaml's functions fill in, as far as it is read here: yaml_event_t, and the head of yaml_parser_t.
// It is the public interface of the library, the same since version 0.1.0 (2006); layout.c holds it to the installed
// header wherever there is one.

#ifndef CYAML_LAYOUT_H
#define CYAML_LAYOUT_H

#include <stddef.h>

typedef struct cy_mark {
    size_t index, line, column;
} cy_mark;

typedef struct cy_raw_event {
    int type;
    union {
        struct {
            unsigned char *anchor;
        } alias;
        struct {
            unsigned char *anchor, *tag, *value;
            size_t length;
            int plain_implicit, quoted_implicit;
            int style;
        } scalar;
        // The same for sequences and mappings.
        struct {
            unsigned char *anchor, *tag;
            int implicit, style;
        } collection;
        struct {
            void *version, *tags_start, *tags_end;
            int implicit;
        } document_start;
    } data;
    cy_mark start, end;
} cy_raw_event;

// yaml_event_type_t.
enum {
    CY_RAW_STREAM_END = 2, CY_RAW_DOCUMENT_START = 3, CY_RAW_DOCUMENT_END = 4, CY_RAW_ALIAS = 5, CY_RAW_SCALAR = 6,
    CY_RAW_SEQUENCE_START = 7, CY_RAW_SEQUENCE_END = 8, CY_RAW_MAPPING_START = 9, CY_RAW_MAPPING_END = 10,
    CY_RAW_PLAIN_STYLE = 1, CY_RAW_UTF8 = 1
};

// The head of yaml_parser_t. The whole is 480 bytes where a pointer has 8; it lies in a block of CY_PARSER_SIZE.
typedef struct cy_raw_parser {
    int error;
    const char *problem;
    size_t problem_offset;
    int problem_value;
    cy_mark problem_mark;
} cy_raw_parser;

enum { CY_PARSER_SIZE = 4096 };

#endif
