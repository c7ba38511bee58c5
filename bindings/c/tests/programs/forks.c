/* Forks before anything of the library was called: the parent uses it, the child must not, and both end. */
#define _POSIX_C_SOURCE 200809L
#include <oarlock.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    oar_config *config = NULL;
    int status = 0;
    pid_t child = fork();
    if (child < 0) return 1;
    (void)alarm(20); /* whoever hangs dies */
    if (child == 0) {
        if (OAR_CHECK_ABI() != OAR_ERR_FORKED || oar_config_new(&config) != OAR_ERR_FORKED || config != NULL) return 2;
        return oar_version()[0] == '\0' || oar_last_error()[0] == '\0';
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 3;
    if (WEXITSTATUS(status) != 0) return printf("the child ends with %d\n", WEXITSTATUS(status)), 4;
    return OAR_CHECK_ABI() != OAR_OK || oar_config_new(&config) != OAR_OK || oar_config_free(config) != OAR_OK;
}
