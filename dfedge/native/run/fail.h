/* One line about what cannot be used, and the end. */
#ifndef DFE_RUN_FAIL_H
#define DFE_RUN_FAIL_H

#include <stdio.h>

/* Exit codes: data that cannot be used; wrong words; what the machine could not (disk, memory, a
 * lock). */
enum { DFE_DATA = 1, DFE_USAGE = 2, DFE_MACHINE = 3 };

/* A name, with what would steer a terminal spelled out. */
void dfe_print_name(FILE *out, const char *name);

/* "dfedge-run: PLACE: WHY", why as printf has it. */
#if defined(__GNUC__)
__attribute__((noreturn, format(printf, 3, 4)))
#endif
void dfe_fail(int code, const char *place, const char *why, ...);

/* The same, without the end. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void dfe_note(const char *place, const char *what, ...);

/* Zeroed; ends where there is too little memory. */
void *dfe_reserve(size_t bytes, const char *place);

#endif
