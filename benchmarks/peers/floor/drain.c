/*
 * The floor in C: empties a stream over two connections, and keeps no promise.
 *
 *     drain HOST PORT COUNT [fenced]
 *
 * Reads COUNT entries at once. For each: runs the no-op, which counts itself as child/bodies.py
 * does, and stores its result; acknowledges and deletes them together, all in one write. With
 * `fenced` it also asks per task whether the entry is still its own (XPENDING) and announces the
 * outcome (PUBLISH): what lets one outcome win and tells who waits for it. It does not look at the
 * answers, as a library would have to.
 *
 * The next read is sent before the last one's entries are run, so that server and client work at
 * the same time; with acknowledgements on the same connection they would wait for the read.
 */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST 1000  /* entries of one read */
#define ID 48      /* bytes of an entry's id at most */
#define PX "3600000"

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

/* ------------------------------------------------------------------ what bodies.Tally does */

struct tally {
    uint64_t begun, executed;
    double first, first_end, last;
};

static struct tally *tally;
static unsigned char *seen;
static size_t tasks;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *map(const char *folder, const char *name, int flags, size_t *size) {
    char path[4096];
    struct stat about;
    void *memory;
    int file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if ((file = open(path, O_RDWR | flags, 0600)) < 0) die(path);
    if (flags && ftruncate(file, (off_t)*size)) die(path);
    if (fstat(file, &about)) die(path);
    *size = (size_t)about.st_size;
    memory = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) die(path);
    close(file);
    return memory;
}

static void open_tally(void) {
    const char *folder = getenv("BENCH_RUN_DIR");
    size_t size = sizeof *tally;
    char name[64];

    if (!folder) die("BENCH_RUN_DIR");
    seen = map(folder, "seen", 0, &tasks);
    snprintf(name, sizeof name, "%ld.tally", (long)getpid());
    tally = map(folder, name, O_CREAT | O_TRUNC, &size);
}

/* The task body: returns the number that the payload begins with. */
static long noop(const char *payload) {
    char digits[9] = {0};
    long number;

    if (!tally) open_tally();
    if (!tally->begun++) tally->first = now();
    memcpy(digits, payload, 8);
    number = strtol(digits, NULL, 10);
    tally->last = now();
    if (!tally->executed++) tally->first_end = tally->last;
    if ((size_t)number < tasks) seen[number]++;
    return number;
}

/* ------------------------------------------------------------------------ the connections */

struct buffer {
    char *data;
    size_t length, size;
};

static void append(struct buffer *out, const char *format, ...) {
    va_list values;
    int length;

    while (out->size - out->length < 1024) {
        out->size = out->size ? 2 * out->size : 1 << 16;
        if (!(out->data = realloc(out->data, out->size))) die("memory");
    }
    va_start(values, format);
    length = vsnprintf(out->data + out->length, 1024, format, values);
    va_end(values);
    if (length < 0 || length >= 1024) die("a command is too long");
    out->length += (size_t)length;
}

static int dial(const char *host, const char *port) {
    struct addrinfo want = {.ai_socktype = SOCK_STREAM}, *found;
    int link, yes = 1;

    if (getaddrinfo(host, port, &want, &found)) die(host);
    link = socket(found->ai_family, SOCK_STREAM, 0);
    if (link < 0 || connect(link, found->ai_addr, found->ai_addrlen)) die(host);
    setsockopt(link, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    freeaddrinfo(found);
    return link;
}

static void flush(int link, struct buffer *out) {
    size_t sent = 0;

    while (sent < out->length) {
        ssize_t n = send(link, out->data + sent, out->length - sent, 0);
        if (n < 0 && errno != EINTR) die("send");
        if (n > 0) sent += (size_t)n;
    }
    out->length = 0;
}

/* Throws away the answers that have come, but not an error: a line that begins with a minus. */
static void discard(int link) {
    static char text[1 << 16], last = '\n';
    ssize_t n;

    while ((n = recv(link, text, sizeof text, MSG_DONTWAIT)) > 0) {
        for (ssize_t i = 0; i < n; last = text[i++]) {
            if (text[i] == '-' && last == '\n') {
                errno = 0;
                die("the server answered with an error");
            }
        }
    }
    if (n == 0) exit(0);
    if (errno != EAGAIN && errno != EWOULDBLOCK) die("recv");
}

/* Input is parsed in place: what a pointer leads to stays until `more` is called again. */
static struct {
    int link;
    char data[1 << 20];
    size_t at, end;
} in;

static void more(void) {
    ssize_t n;

    if (in.at == in.end || in.end == sizeof in.data) {
        memmove(in.data, in.data + in.at, in.end - in.at);
        in.end -= in.at;
        in.at = 0;
    }
    if (in.end == sizeof in.data) die("a line is too long");
    if ((n = recv(in.link, in.data + in.end, sizeof in.data - in.end, 0)) <= 0) exit(n < 0);
    in.end += (size_t)n;
}

/* Reads the number of a line such as *2 or $15. */
static long header(char kind) {
    char *end;
    long number;

    while (!(end = memchr(in.data + in.at, '\n', in.end - in.at))) more();
    if (in.data[in.at] != kind) {
        errno = 0;
        *end = 0;
        die(in.data + in.at);
    }
    number = strtol(in.data + in.at + 1, NULL, 10);
    in.at = (size_t)(end + 1 - in.data);
    return number;
}

static char *bulk(long *length) {
    char *text;

    *length = header('$');
    while (in.end - in.at < (size_t)*length + 2) more();
    text = in.data + in.at;
    in.at += (size_t)*length + 2;
    return text;
}

/* -------------------------------------------------------------------------------- the loop */

static char ids[MOST][ID];
static int lengths[MOST];
static long numbers[MOST];

/* Reads the answer to XREADGROUP and runs its entries; returns how many, 0 when none came. */
static long run_entries(int reader, struct buffer *next) {
    long count, length;
    char *text;

    if (header('*') < 0) {
        flush(reader, next);
        return 0;
    }
    header('*');
    bulk(&length);
    count = header('*');
    flush(reader, next);
    if (count > MOST) die("more entries than asked for");
    for (long i = 0; i < count; i++) {
        header('*');
        text = bulk(&length);
        if (length >= ID) die("an id is too long");
        memcpy(ids[i], text, (size_t)length);
        ids[i][length] = 0;
        lengths[i] = (int)length;
        header('*');
        bulk(&length); /* the kind: there is one */
        numbers[i] = noop(bulk(&length));
    }
    return count;
}

static void finish(struct buffer *out, long count, int fenced) {
    char number[32];

    for (long i = 0; fenced && i < count; i++)
        append(out, "*6\r\n$8\r\nXPENDING\r\n$1\r\nq\r\n$1\r\ng\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n"
                    "$1\r\n1\r\n", lengths[i], ids[i], lengths[i], ids[i]);
    append(out, "*%ld\r\n$4\r\nXACK\r\n$1\r\nq\r\n$1\r\ng\r\n", count + 3);
    for (long i = 0; i < count; i++) append(out, "$%d\r\n%s\r\n", lengths[i], ids[i]);
    append(out, "*%ld\r\n$4\r\nXDEL\r\n$1\r\nq\r\n", count + 2);
    for (long i = 0; i < count; i++) append(out, "$%d\r\n%s\r\n", lengths[i], ids[i]);
    for (long i = 0; i < count; i++) {
        int digits = snprintf(number, sizeof number, "%ld", numbers[i]);
        append(out, "*5\r\n$3\r\nSET\r\n$%d\r\nr:%s\r\n$%d\r\n%s\r\n$2\r\nPX\r\n$%zu\r\n" PX "\r\n",
               lengths[i] + 2, ids[i], digits, number, strlen(PX));
        if (fenced)
            append(out, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\nr:%s\r\n$%d\r\n%s\r\n",
                   lengths[i] + 2, ids[i], digits, number);
    }
}

static void ask(struct buffer *out, const char *name, const char *count) {
    append(out, "*11\r\n$10\r\nXREADGROUP\r\n$5\r\nGROUP\r\n$1\r\ng\r\n$%zu\r\n%s\r\n"
                "$5\r\nCOUNT\r\n$%zu\r\n%s\r\n$5\r\nBLOCK\r\n$4\r\n2000\r\n"
                "$7\r\nSTREAMS\r\n$1\r\nq\r\n$1\r\n>\r\n",
           strlen(name), name, strlen(count), count);
}

int main(int argc, char **argv) {
    struct buffer next = {0}, out = {0};
    char name[32];
    int writer, fenced;

    if (argc < 4) {
        fprintf(stderr, "usage: drain HOST PORT COUNT [fenced]\n");
        return 2;
    }
    fenced = argc > 4 && !strcmp(argv[4], "fenced");
    snprintf(name, sizeof name, "%ld", (long)getpid());
    in.link = dial(argv[1], argv[2]);
    writer = dial(argv[1], argv[2]);
    ask(&next, name, argv[3]);
    flush(in.link, &next);
    for (;;) {
        long count;

        ask(&next, name, argv[3]);
        if ((count = run_entries(in.link, &next))) {
            finish(&out, count, fenced);
            flush(writer, &out);
        }
        discard(writer);
    }
}
