/* The counter of `bench bindings` in C: three servers in this process, clients that wait or are called back. It is told by
 * lines on its input what to do ("run SECONDS CLIENTS wait|async|bare") and answers each with a line: proposals answered, and
 * the seconds that it took. bare proposes nothing: each client sleeps until it is woken, which is what waiting costs. */
#define _GNU_SOURCE /* sem_clockwait */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "oarlock.h"

enum { SERVERS = 3, CLIENTS_MAX = 4096 };

static oar_server *servers[SERVERS];
static _Atomic(oar_server *) leader;
static atomic_bool stopping;
static atomic_ullong answered;
static atomic_int outstanding;

static void must(oar_status status, const char *what) {
    if (status == OAR_OK) return;
    fprintf(stderr, "%s: %s: %s\n", what, oar_status_name(status), oar_last_error());
    exit(1);
}

static oar_status apply(void *at, const oar_entry *entries, size_t count, oar_results *results) {
    uint64_t *counter = at;
    for (size_t i = 0; i < count; i++) {
        uint64_t add = 0;
        memcpy(&add, entries[i].command, entries[i].command_len < sizeof add ? entries[i].command_len : sizeof add);
        *counter += add;
        oar_status status = oar_results_add(results, counter, sizeof *counter);
        if (status != OAR_OK) return status;
    }
    return OAR_OK;
}

static oar_status query(void *at, const void *q, size_t q_len, oar_buf *answer) {
    (void)q;
    (void)q_len;
    return oar_buf_append(answer, at, sizeof(uint64_t));
}

/* Whoever leads, if anybody does within a while. */
static oar_server *find_leader(void) {
    for (int tries = 0; tries < 5000; tries++) {
        for (int i = 0; i < SERVERS; i++) {
            oar_group_info info;
            OAR_INIT(&info);
            if (oar_server_group_info(servers[i], 0, &info) == OAR_OK && info.role == OAR_ROLE_LEADER) {
                atomic_store(&leader, servers[i]);
                return servers[i];
            }
        }
        struct timespec pause = {0, 2000000};
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "no leader\n");
    exit(1);
}

static void *client(void *unused) {
    const uint64_t one = 1;
    unsigned long long mine = 0;
    (void)unused;
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        void *result;
        size_t result_len;
        oar_status status = oar_propose(atomic_load(&leader), NULL, &one, sizeof one, 10 * OAR_SECOND, &result, &result_len);
        if (status == OAR_OK) {
            oar_free(result);
            mine++;
        } else {
            find_leader();
        }
    }
    atomic_fetch_add(&answered, mine);
    return NULL;
}

static void again(void);

static void completed(void *unused, const oar_completion *completion) {
    (void)unused;
    if (completion->status == OAR_OK) atomic_fetch_add_explicit(&answered, 1, memory_order_relaxed);
    if (completion->status != OAR_OK || atomic_load_explicit(&stopping, memory_order_relaxed)) {
        atomic_fetch_sub(&outstanding, 1);
    } else {
        again();
    }
}

static void again(void) {
    const uint64_t one = 1;
    must(oar_propose_async(atomic_load(&leader), NULL, &one, sizeof one, completed, NULL), "propose");
}

/* The bare way: whoever comes last has a thread wake them all. */
static sem_t asleep[CLIENTS_MAX], everybody;
static atomic_int arrived;
static int sleepers;

static void *sleeper(void *at) {
    unsigned long long mine = 0;
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        struct timespec end;
        if (atomic_fetch_add(&arrived, 1) == sleepers - 1) sem_post(&everybody);
        clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_sec += 10;
        if (sem_clockwait(at, CLOCK_MONOTONIC, &end) == 0) mine++;
    }
    atomic_fetch_add(&answered, mine);
    return NULL;
}

static void *waker(void *unused) {
    (void)unused;
    for (;;) {
        sem_wait(&everybody);
        bool last = atomic_load(&stopping);
        atomic_store(&arrived, 0);
        for (int i = 0; i < sleepers; i++) sem_post(&asleep[i]);
        if (last) return NULL;
    }
}

static void run(double seconds, int clients, const char *way) {
    bool async = strcmp(way, "async") == 0, bare = strcmp(way, "bare") == 0;
    pthread_t wakes;
    static pthread_t threads[CLIENTS_MAX];
    struct timespec begin, end, turn = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    find_leader();
    atomic_store(&stopping, 0);
    atomic_store(&answered, 0);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    atomic_store(&outstanding, async ? clients : 0);
    sleepers = clients;
    atomic_store(&arrived, 0);
    sem_init(&everybody, 0, 0);
    for (int i = 0; i < clients; i++) sem_init(&asleep[i], 0, 0);
    if (bare && pthread_create(&wakes, NULL, waker, NULL) != 0) exit(1);
    for (int i = 0; i < clients; i++) {
        if (async) {
            again();
        } else if (pthread_create(&threads[i], NULL, bare ? sleeper : client, bare ? (void *)&asleep[i] : NULL) != 0) {
            fprintf(stderr, "no thread\n");
            exit(1);
        }
    }
    nanosleep(&turn, NULL);
    atomic_store(&stopping, 1);
    for (int i = 0; i < clients && !async; i++) pthread_join(threads[i], NULL);
    if (bare) {
        sem_post(&everybody); /* it may wait for those who have left */
        pthread_join(wakes, NULL);
    }
    while (atomic_load(&outstanding) > 0) {
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%llu %.6f\n", (unsigned long long)atomic_load(&answered),
           (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    fflush(stdout);
}

int main(int argc, char **argv) {
    static uint64_t counters[SERVERS];
    oar_config *config;
    if (argc != 2) return 2;
    must(OAR_CHECK_ABI(), "ABI");
    must(oar_config_load_file(argv[1], &config), "config");
    for (int i = 0; i < SERVERS; i++) {
        oar_state_machine machine;
        oar_server_options options;
        OAR_INIT(&machine);
        machine.apply = apply;
        machine.query = query;
        OAR_INIT(&options);
        options.machine = &machine;
        options.machine_user_data = &counters[i];
        must(oar_server_format(config, (uint64_t)i + 1), "format");
        must(oar_server_open(config, (uint64_t)i + 1, &options, &servers[i]), "open");
        must(oar_server_start(servers[i]), "start");
    }
    for (int i = 0; i < SERVERS; i++) must(oar_server_wait_ready(servers[i], 30 * OAR_SECOND), "ready");
    printf("ready\n");
    fflush(stdout);
    char line[128], way[16];
    double seconds;
    int clients;
    while (fgets(line, sizeof line, stdin) != NULL && sscanf(line, "run %lf %d %15s", &seconds, &clients, way) == 3)
        run(seconds, clients < CLIENTS_MAX ? clients : CLIENTS_MAX, way);
    for (int i = 0; i < SERVERS; i++) must(oar_server_free(servers[i]), "close");
    must(oar_config_free(config), "config");
    return 0;
}
