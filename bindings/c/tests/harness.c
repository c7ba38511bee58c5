/* Checks, threads and the running of phases. */
#include "harness.h"

#include <ftw.h>
#include <stdarg.h>

/* ---- Checks ---- */

static const char *phase_name = "?";

void fail_at(const char *file, int line, const char *format, ...) {
    char last[2048];
    va_list args;
    (void)snprintf(last, sizeof last, "%s", oar_last_error());
    flockfile(stdout);
    printf("%s:%d: in %s: ", file, line, phase_name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n    the last failure: %s\n", last);
    fflush(stdout);
    _exit(1);
}

void check_status(oar_status got, oar_status want, const char *what, const char *file, int line) {
    if (got != want) fail_at(file, line, "%s is %s, not %s", what, oar_status_name(got), oar_status_name(want));
    oar_error_detail detail;
    OAR_INIT(&detail);
    if (got == OAR_OK || oar_last_error_detail(&detail) != OAR_OK) return;
    if (detail.status != got) fail_at(file, line, "%s is %s, and the detail says %s", what, oar_status_name(got), oar_status_name(detail.status));
    if (oar_last_error()[0] == '\0') fail_at(file, line, "%s is %s, without a text", what, oar_status_name(got));
}

void check_text(const char *text, const char *part, const char *file, int line) {
    if (text == NULL || strstr(text, part) == NULL) fail_at(file, line, "\"%s\" is not in \"%s\"", part, text == NULL ? "NULL" : text);
}

int64_t now(void) {
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (int64_t)t.tv_sec * OAR_SECOND + t.tv_nsec;
}

void pause_a_little(void) {
    struct timespec t = {0, 2 * OAR_MILLISECOND};
    (void)nanosleep(&t, NULL);
}

static oar_error_detail detail(void) {
    oar_error_detail d;
    OAR_INIT(&d);
    OK(oar_last_error_detail(&d));
    return d;
}

oar_status cause(void) { return detail().cause; }
uint32_t class_bits(void) { return detail().class_bits; }

/* ---- Threads ---- */

pthread_t spawn(void *(*run)(void *), void *argument) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, argument) == 0);
    return thread;
}

void join(pthread_t thread) { CHECK(pthread_join(thread, NULL) == 0); }

void gate_pass(struct gate *gate) {
    pthread_mutex_lock(&gate->mutex);
    gate->inside++;
    while (!gate->open) pthread_cond_wait(&gate->changed, &gate->mutex);
    gate->inside--;
    pthread_mutex_unlock(&gate->mutex);
}

static void gate_set(struct gate *gate, bool open) {
    pthread_mutex_lock(&gate->mutex);
    gate->open = open;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

void gate_open(struct gate *gate) { gate_set(gate, true); }
void gate_shut(struct gate *gate) { gate_set(gate, false); }

int gate_inside(struct gate *gate) {
    pthread_mutex_lock(&gate->mutex);
    int inside = gate->inside;
    pthread_mutex_unlock(&gate->mutex);
    return inside;
}

/* For LeakSanitizer, which does not see Go's memory: Pebble keeps entries of its cache there for later ones, until Go's
 * collector has them freed. */
const char *__lsan_default_options(void);
const char *__lsan_default_options(void) { return "print_suppressions=0"; }
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:_Cfunc_calloc\n"; }

/* ---- Phases ---- */

static const struct phase *const areas[] = {
    arguments_phases, structs_phases, errors_phases, config_phases, one_phases, sessions_phases, three_phases, ways_phases, calls_phases,
    machine_phases, stuck_phases, deadlock_phases, events_phases, pull_phases, closing_phases,
    fork_phases, damage_phases, cluster_phases, members_phases, reads_phases, check_phases, leaks_phases,
};

enum { AREAS = sizeof areas / sizeof areas[0], PHASE_SECONDS = 300 };

/* In the child: the phase, and that it left nothing behind. */
static int run(const struct phase *p) {
    phase_name = p->name;
    (void)alarm(PHASE_SECONDS); /* a phase that hangs dies */
    oar_counts before = counts();
    p->run();
    int64_t until = now() + PATIENCE;
    for (;;) {
        oar_counts c = counts();
        if (c.configs + c.servers + c.clients + c.calls + c.queues + c.events + c.clusters == 0 && c.bytes == 0 && c.goroutines <= before.goroutines) break;
        if (now() > until)
            fail_at(__FILE__, __LINE__, "left behind: %u clusters, %u configs, %u servers, %u clients, %u calls, %u queues, %u events, %llu bytes, %u goroutines",
                    c.clusters, c.configs, c.servers, c.clients, c.calls, c.queues, c.events, (unsigned long long)c.bytes, c.goroutines - before.goroutines);
        pause_a_little();
    }
    return 0;
}

static const struct phase *named(const char *name) {
    for (size_t i = 0; i < AREAS; i++)
        for (const struct phase *p = areas[i]; p->name != NULL; p++)
            if (strcmp(p->name, name) == 0) return p;
    return NULL;
}

static int unlink_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}

struct child {
    pid_t pid;
    const struct phase *phase;
    int64_t since;
    char dir[32];
};

static void launch(struct child *c, const char *self, const struct phase *p) {
    strcpy(c->dir, "/tmp/oar-c-XXXXXX");
    CHECK(mkdtemp(c->dir) != NULL);
    c->phase = p;
    c->since = now();
    c->pid = fork();
    CHECK(c->pid >= 0);
    if (c->pid > 0) return;
    if (chdir(c->dir) == 0) (void)execl(self, self, "--here", p->name, (char *)NULL);
    _exit(126);
}

/* Waits for one of the children and reports it. Returns whether it passed. */
static bool reap(struct child *children, int count) {
    int status = 0;
    pid_t pid = waitpid(-1, &status, 0);
    for (int i = 0; i < count; i++) {
        struct child *c = &children[i];
        if (c->pid != pid) continue;
        c->pid = 0;
        (void)nftw(c->dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
        bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        printf("%s %s (%.1fs)", ok ? "ok    " : "FAILED", c->phase->name, (double)(now() - c->since) / 1e9);
        if (WIFSIGNALED(status)) printf(" by signal %d%s", WTERMSIG(status), WTERMSIG(status) == SIGALRM ? ": it hangs" : "");
        printf("\n");
        fflush(stdout);
        return ok;
    }
    return true; /* a grandchild */
}

/* Whether a phase is asked for: by its name or the beginning of it. */
static bool wanted(const struct phase *p, char **names) {
    if (*names == NULL) return true;
    for (; *names != NULL; names++)
        if (strncmp(p->name, *names, strlen(*names)) == 0) return true;
    return false;
}

/* tests [NAME...]: the phases whose names begin so; all of them. tests --list: their names. TEST_JOBS of them at once: 2. */
int main(int argc, char **argv) {
    char self[4096];
    struct child children[16];
    const char *jobs = getenv("TEST_JOBS");
    int most = jobs == NULL ? 2 : atoi(jobs), running = 0, ran = 0, failed = 0;
    if (argc == 3 && strcmp(argv[1], "--here") == 0) {
        const struct phase *p = named(argv[2]);
        return p == NULL ? 2 : run(p);
    }
    if (realpath("/proc/self/exe", self) == NULL || most < 1 || most > 16) return 2;
    memset(children, 0, sizeof children);
    for (size_t i = 0; i < AREAS; i++)
        for (const struct phase *p = areas[i]; p->name != NULL; p++) {
            if (argc == 2 && strcmp(argv[1], "--list") == 0) {
                puts(p->name);
                continue;
            }
            if (!wanted(p, argv + 1)) continue;
            if (running == most) failed += !reap(children, most), running--;
            struct child *c = children;
            while (c->pid != 0) c++;
            launch(c, self, p), running++, ran++;
        }
    for (; running > 0; running--) failed += !reap(children, most);
    if (ran == 0 && argc > 1 && strcmp(argv[1], "--list") != 0) return printf("no such phase\n"), 2;
    return failed == 0 ? 0 : 1;
}
