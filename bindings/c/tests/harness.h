/* What the tests of the C interface share: phases that run by name in a process of their own, checks that say where, and
 * a state machine whose commands say what goes wrong. */
#ifndef HARNESS_H
#define HARNESS_H

#define _GNU_SOURCE
#include <errno.h>
#include <oarlock.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Phases ---- */

/* Each runs in a process and an empty working directory of its own. */
struct phase {
    const char *name;
    void (*run)(void);
};

#define AREA(name) extern const struct phase name##_phases[]
AREA(arguments);
AREA(structs);
AREA(errors);
AREA(config);
AREA(one);
AREA(sessions);
AREA(three);
AREA(ways);
AREA(calls);
AREA(machine);
AREA(stuck);
AREA(deadlock);
AREA(pull);
AREA(closing);
AREA(fork);
AREA(events);
AREA(damage);
AREA(cluster);
AREA(members);
AREA(reads);
AREA(check);
AREA(leaks);

/* ---- Checks ---- */

/* Ends the process; where and what, with the last failure of the calling thread. */
void fail_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));
void check_status(oar_status got, oar_status want, const char *what, const char *file, int line);
void check_text(const char *text, const char *part, const char *file, int line);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) fail_at(__FILE__, __LINE__, "%s", #condition);                                               \
    } while (0)
#define IS(expression, status) check_status((expression), (status), #expression, __FILE__, __LINE__)
#define OK(expression) IS(expression, OAR_OK)
/* The status, and that the last failure's text has a part. */
#define SAYS(expression, status, part)                                                                                 \
    do {                                                                                                               \
        IS(expression, status);                                                                                        \
        check_text(oar_last_error(), part, __FILE__, __LINE__);                                                        \
    } while (0)
#define HAS(text, part) check_text(text, part, __FILE__, __LINE__)
/* How long is waited for what should happen soon; it is spent only by a test that fails. */
#define PATIENCE (120 * OAR_SECOND)
/* Waits until a condition holds. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        int64_t until_ = now() + PATIENCE;                                                                             \
        while (!(condition)) {                                                                                         \
            if (now() > until_) fail_at(__FILE__, __LINE__, "never: %s", #condition);                                  \
            pause_a_little();                                                                                          \
        }                                                                                                              \
    } while (0)

int64_t now(void); /* monotonic nanoseconds */
void pause_a_little(void);
oar_status cause(void);    /* of the last failure */
uint32_t class_bits(void); /* the same */

/* Atomic counters in C99. */
#define ADD(at) __atomic_add_fetch(&(at), 1, __ATOMIC_SEQ_CST)
#define GET(at) __atomic_load_n(&(at), __ATOMIC_SEQ_CST)
#define PUT(at, value) __atomic_store_n(&(at), (value), __ATOMIC_SEQ_CST)

/* ---- Threads ---- */

pthread_t spawn(void *(*run)(void *), void *argument);
void join(pthread_t thread);

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool open;
    int inside; /* threads that wait */
};
#define GATE_INIT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0}
void gate_pass(struct gate *gate); /* waits until it is open */
void gate_open(struct gate *gate);
void gate_shut(struct gate *gate);
int gate_inside(struct gate *gate);

/* ---- Servers ---- */

/* A sum. Commands: "+N" adds N, and the result is the sum as text; "fail TEXT", "empty", "many" (too many results), "big N"
 * (N bytes), "pieces", "gate" (waits), "sleep MS". Queries: "" is the sum; "fail TEXT", "big N", "gate". */
struct machine {
    long sum;
    int applied, queried, prepared, written, released, restored, destroyed;
    const char *prepare_fails, *write_fails, *restore_fails; /* with this text */
    bool restore_stops;                                      /* before the end */
    int64_t due;                                             /* 0: nothing */
    int expired;
    bool expire_fails;
    struct gate gate;
    void (*hook)(struct machine *m, const char *callback); /* called in each callback */
};
extern const oar_state_machine machine_plain; /* apply, query, destroy */
extern const oar_state_machine machine_full;  /* and snapshots */
void machine_init(struct machine *m);

int free_ports(int count); /* the first of so many that can be listened on */
/* A cluster with short timeouts; its log is in memory, or in "data" of the working directory, formatted. */
oar_config *cluster(unsigned members, bool memory);
/* Settings alone, with long timeouts: who leads goes on leading although the machine stands still for a moment. */
oar_config *calm(void);
void set(oar_config *config, const char *key, const char *value);
oar_server *opened(oar_config *config, uint64_t id, const oar_state_machine *vtable, struct machine *m);
oar_server *started(oar_config *config, uint64_t id, const oar_state_machine *vtable, struct machine *m);
/* One server in memory, ready; the configuration is freed. */
oar_server *single(const oar_state_machine *vtable, struct machine *m);
/* Which of `count` servers leads: waits for one that answers. */
int leader_of(oar_server **servers, int count);

oar_status propose(oar_server *server, const char *command, char *result, size_t room);
long sum_of(oar_server *server);                  /* by a query that must succeed */
void add(oar_server *server, long n, long sum);   /* "+n", with its result */
oar_group_info info_of(oar_server *server);
oar_counts counts(void);

#define BOGUS(type, number) ((type *)(uintptr_t)(number))

#endif
