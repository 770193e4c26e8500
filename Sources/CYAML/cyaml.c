#include "cyaml.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"

typedef int initialize_function(void *parser);
typedef void delete_function(void *parser);
typedef void input_function(void *parser, const unsigned char *bytes, size_t length);
typedef void encoding_function(void *parser, int encoding);
typedef int parse_function(void *parser, cy_raw_event *event);
typedef void event_function(cy_raw_event *event);

struct cy_library {
    cy_status status;
    char detail[256];
    initialize_function *initialize;
    delete_function *delete;
    input_function *set_input;
    encoding_function *set_encoding;
    parse_function *parse;
    event_function *delete_event;
};

// The name with a version is the run-time library; the plain one comes with the development package.
static const char *const usual_names[] = {
#if defined(__APPLE__)
    "libyaml-0.2.dylib",
    "/opt/homebrew/lib/libyaml-0.2.dylib",
    "/usr/local/lib/libyaml-0.2.dylib",
    "/opt/local/lib/libyaml-0.2.dylib",
#else
    "libyaml-0.so.2",
    "libyaml.so",
#endif
};

static void note(cy_library *library, const char *detail) {
    strncpy(library->detail, detail != NULL ? detail : "", sizeof library->detail - 1);
}

/// A function of the library by name; where it is missing, the library is marked incomplete.
static void *function_named(cy_library *library, void *handle, const char *name) {
    void *function = dlsym(handle, name);
    if (function == NULL && library->status == CY_READY) {
        library->status = CY_INCOMPLETE;
        note(library, name);
    }
    return function;
}

cy_library *cy_open(const char *path) {
    cy_library *library = calloc(1, sizeof *library);
    if (library == NULL) return NULL;
    void *handle = NULL;
    if (path != NULL) {
        handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (handle == NULL) note(library, dlerror());
    } else {
        for (size_t i = 0; i < sizeof usual_names / sizeof *usual_names && handle == NULL; i++) {
            handle = dlopen(usual_names[i], RTLD_NOW | RTLD_LOCAL);
            // The first name's message is the one to show: it is the library that packages install.
            const char *reason = handle == NULL ? dlerror() : NULL;
            if (i == 0) note(library, reason);
        }
    }
    if (handle == NULL) {
        library->status = CY_MISSING;
        return library;
    }
    library->detail[0] = '\0';
    library->status = CY_READY;
    library->initialize = (initialize_function *)function_named(library, handle, "yaml_parser_initialize");
    library->delete = (delete_function *)function_named(library, handle, "yaml_parser_delete");
    library->set_input = (input_function *)function_named(library, handle, "yaml_parser_set_input_string");
    library->set_encoding = (encoding_function *)function_named(library, handle, "yaml_parser_set_encoding");
    library->parse = (parse_function *)function_named(library, handle, "yaml_parser_parse");
    library->delete_event = (event_function *)function_named(library, handle, "yaml_event_delete");
    return library;
}

void cy_forget(cy_library *library) { free(library); }

static cy_library *shared;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void open_shared(void) {
    const char *name = getenv("PEFTFILE_LIBYAML");
    shared = cy_open(name != NULL && *name != '\0' ? name : NULL);
}

const cy_library *cy_shared(void) {
    pthread_once(&once, open_shared);
    return shared;
}

cy_status cy_library_status(const cy_library *library) { return library->status; }
const char *cy_library_detail(const cy_library *library) { return library->detail; }

struct cy_parser {
    const cy_library *library;
    /// Whether `event` holds what the library must free.
    bool holds_event;
    cy_raw_event event;
    /// yaml_parser_t, whose head is a cy_raw_parser.
    _Alignas(16) unsigned char state[CY_PARSER_SIZE];
};

cy_parser *cy_parse(const cy_library *library, const char *bytes, size_t length) {
    cy_parser *parser = calloc(1, sizeof *parser);
    if (parser == NULL) return NULL;
    parser->library = library;
    if (!library->initialize(parser->state)) {
        free(parser);
        return NULL;
    }
    library->set_input(parser->state, (const unsigned char *)bytes, length);
    library->set_encoding(parser->state, CY_RAW_UTF8);
    return parser;
}

static void drop_event(cy_parser *parser) {
    if (parser->holds_event) parser->library->delete_event(&parser->event);
    parser->holds_event = false;
}

cy_event cy_next(cy_parser *parser) {
    drop_event(parser);
    memset(&parser->event, 0, sizeof parser->event);
    cy_event result = { .kind = CY_OTHER };
    if (!parser->library->parse(parser->state, &parser->event)) {
        const cy_raw_parser *state = (const cy_raw_parser *)(const void *)parser->state;
        result.kind = CY_FAILED;
        result.value = state->problem != NULL ? state->problem : "memory is out";
        result.length = strlen(result.value);
        result.line = state->problem_mark.line;
        return result;
    }
    parser->holds_event = true;
    const cy_raw_event *event = &parser->event;
    result.line = event->start.line;
    switch (event->type) {
    case CY_RAW_STREAM_END: result.kind = CY_STREAM_END; break;
    case CY_RAW_DOCUMENT_START: result.kind = CY_DOCUMENT_START; break;
    case CY_RAW_DOCUMENT_END: result.kind = CY_DOCUMENT_END; break;
    case CY_RAW_ALIAS: result.kind = CY_ALIAS; break;
    case CY_RAW_SCALAR:
        result.kind = CY_SCALAR;
        result.value = (const char *)event->data.scalar.value;
        result.length = event->data.scalar.length;
        result.is_plain = event->data.scalar.style == CY_RAW_PLAIN_STYLE;
        result.has_anchor = event->data.scalar.anchor != NULL;
        result.has_tag = event->data.scalar.tag != NULL;
        break;
    case CY_RAW_SEQUENCE_START:
    case CY_RAW_MAPPING_START:
        result.kind = event->type == CY_RAW_SEQUENCE_START ? CY_SEQUENCE_START : CY_MAPPING_START;
        result.has_anchor = event->data.collection.anchor != NULL;
        result.has_tag = event->data.collection.tag != NULL;
        break;
    case CY_RAW_SEQUENCE_END: result.kind = CY_SEQUENCE_END; break;
    case CY_RAW_MAPPING_END: result.kind = CY_MAPPING_END; break;
    default: break;
    }
    return result;
}

void cy_end(cy_parser *parser) {
    if (parser == NULL) return;
    drop_event(parser);
    parser->library->delete(parser->state);
    free(parser);
}
