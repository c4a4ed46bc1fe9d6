"""A Flask application with SQLAlchemy, which connects when it is imported, as many do."""

import os

from flask import Flask, jsonify
from sqlalchemy import create_engine, text

URL = os.environ["DATABASE_URL"]
app = Flask(__name__)
engine = create_engine(URL)
WHO = "select pg_backend_pid()" if URL.startswith("postgresql") else "select 0"

with engine.begin() as db:
    db.execute(text("create table if not exists visits (worker integer)"))


@app.route("/visit")
def visit():
    with engine.begin() as db:
        db.execute(text("insert into visits values (:worker)"), {"worker": os.getpid()})
        return jsonify(worker=os.getpid(), backend=db.execute(text(WHO)).scalar())


@app.route("/visits")
def visits():
    with engine.connect() as db:
        return jsonify(dict(db.execute(text("select worker, count(*) from visits group by worker")).all()))
