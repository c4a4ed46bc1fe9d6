"""A Django site in one file: one view, one template, the middleware that a new project has, without a database."""

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.shortcuts import render
from django.urls import path

TEMPLATE = """<!doctype html><title>{{ title }}</title>
<ul>{% for row in rows %}<li class="{% cycle 'odd' 'even' %}">{{ row.name|upper }}: {{ row.count }}</li>{% endfor %}</ul>"""

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="for measuring only",
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    (
                        "django.template.loaders.cached.Loader",
                        [("django.template.loaders.locmem.Loader", {"list.html": TEMPLATE})],
                    )
                ]
            },
        }
    ],
)
django.setup()

ROWS = [{"name": f"row {i}", "count": i} for i in range(10)]


def listing(request):
    return render(request, "list.html", {"title": "Rows", "rows": ROWS})


urlpatterns = [path("", listing)]
app = get_wsgi_application()
