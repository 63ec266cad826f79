/* A wall clock that is wrong by CDRVEIL_TEST_SKEW_S seconds, for one process: cc -shared -fPIC, LD_PRELOAD.
 *
 * Not libfaketime: librdkafka waits with C11's cnd_timedwait until an absolute time of that clock, which
 * libfaketime leaves alone, so that a wait of a second became one of hours. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

static long skew(void) {
    static long seconds, known;
    if (!known) {
        const char *text = getenv("CDRVEIL_TEST_SKEW_S");
        seconds = text ? atol(text) : 0;
        known = 1;
    }
    return seconds;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += skew();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(gettimeofday);
    int result = real(now, zone);
    if (result == 0) now->tv_sec += skew();
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

/* Deadlines by the wrong clock, for a kernel whose clock is right. */
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    REAL(cnd_timedwait);
    struct timespec right = *until;
    right.tv_sec -= skew();
    return real(condition, mutex, &right);
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    REAL(pthread_cond_timedwait);
    struct timespec right = *until;
    right.tv_sec -= skew();
    return real(condition, mutex, &right);
}
