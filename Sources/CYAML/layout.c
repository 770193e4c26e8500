#include "layout.h"

// Where libyaml's own header is installed, the declarations of layout.h are held to it.
#if defined(__has_include)
#if __has_include(<yaml.h>)
#include <yaml.h>

#define SAME_PLACE(mine, theirs) \
    _Static_assert(offsetof(cy_raw_event, mine) == offsetof(yaml_event_t, theirs), "yaml_event_t has another layout")

_Static_assert(sizeof(cy_raw_event) == sizeof(yaml_event_t), "yaml_event_t has another size");
SAME_PLACE(type, type);
SAME_PLACE(data.alias.anchor, data.alias.anchor);
SAME_PLACE(data.scalar.anchor, data.scalar.anchor);
SAME_PLACE(data.scalar.tag, data.scalar.tag);
SAME_PLACE(data.scalar.value, data.scalar.value);
SAME_PLACE(data.scalar.length, data.scalar.length);
SAME_PLACE(data.scalar.style, data.scalar.style);
SAME_PLACE(data.collection.anchor, data.sequence_start.anchor);
SAME_PLACE(data.collection.tag, data.sequence_start.tag);
SAME_PLACE(data.collection.anchor, data.mapping_start.anchor);
SAME_PLACE(data.collection.tag, data.mapping_start.tag);
SAME_PLACE(start, start_mark);
SAME_PLACE(end, end_mark);

_Static_assert(offsetof(cy_raw_parser, problem) == offsetof(yaml_parser_t, problem), "yaml_parser_t has another layout");
_Static_assert(
    offsetof(cy_raw_parser, problem_mark) == offsetof(yaml_parser_t, problem_mark), "yaml_parser_t has another layout");
_Static_assert(sizeof(yaml_parser_t) <= CY_PARSER_SIZE, "yaml_parser_t has grown");

_Static_assert((int)CY_RAW_STREAM_END == (int)YAML_STREAM_END_EVENT, "yaml_event_type_t has other numbers");
_Static_assert((int)CY_RAW_MAPPING_END == (int)YAML_MAPPING_END_EVENT, "yaml_event_type_t has other numbers");
_Static_assert((int)CY_RAW_SCALAR == (int)YAML_SCALAR_EVENT, "yaml_event_type_t has other numbers");
_Static_assert((int)CY_RAW_PLAIN_STYLE == (int)YAML_PLAIN_SCALAR_STYLE, "yaml_scalar_style_t has other numbers");
_Static_assert((int)CY_RAW_UTF8 == (int)YAML_UTF8_ENCODING, "yaml_encoding_t has other numbers");
#endif
#endif
