/* cwsgictl.h - looks after servers of cwsgi: finds the one that is meant, does what its command asks for. */
#pragma once

enum { /* exit statuses */
       CTL_OK = 0,
       CTL_FAILED = 1,
       CTL_USAGE = 2,
       CTL_NOT_RUNNING = 3, /* as LSB has it */
};
