/* What a test's program prints, by board_write of whoever includes this. */
#ifndef PRINT_H
#define PRINT_H

static inline void print_number(const char *name, uint32_t value) {
    char text[12];
    int at = sizeof text;
    text[--at] = 0;
    text[--at] = '\n';
    do text[--at] = (char)('0' + value % 10);
    while (value /= 10);
    board_write(name);
    board_write(" ");
    board_write(text + at);
}

/* In hexadecimal digits. */
static inline void print_bytes(const char *name, const void *from, int32_t count) {
    const uint8_t *byte = from;
    char text[3] = {0, 0, 0};
    board_write(name);
    board_write(" ");
    for (int32_t i = 0; i < count; i++) {
        text[0] = "0123456789abcdef"[byte[i] >> 4];
        text[1] = "0123456789abcdef"[byte[i] & 15];
        board_write(text);
    }
    board_write("\n");
}

#endif
