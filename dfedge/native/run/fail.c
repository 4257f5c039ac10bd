#include "fail.h"

#include <stdarg.h>
#include <stdlib.h>

void dfe_print_name(FILE *out, const char *name) {
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;
        if (c < 0x20 || c == 0x7F) fprintf(out, "\\x%02x", c);
        else fputc(c, out);
    }
}

static void line(const char *place, const char *what, va_list values) {
    fflush(stdout);
    char text[3 * 4096]; /* a message may name two paths */
    vsnprintf(text, sizeof text, what, values);
    fputs("dfedge-run: ", stderr);
    dfe_print_name(stderr, place);
    fputs(": ", stderr);
    dfe_print_name(stderr, text);
    fputc('\n', stderr);
}

void dfe_note(const char *place, const char *what, ...) {
    va_list values;
    va_start(values, what);
    line(place, what, values);
    va_end(values);
}

void dfe_fail(int code, const char *place, const char *why, ...) {
    va_list values;
    va_start(values, why);
    line(place, why, values);
    va_end(values);
    exit(code);
}

void *dfe_reserve(size_t bytes, const char *place) {
    void *block = calloc(bytes ? bytes : 1, 1);
    if (!block)
        dfe_fail(DFE_MACHINE, place, "needs %zu bytes of memory, more than there are", bytes);
    return block;
}
